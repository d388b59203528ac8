import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='ChoreRun',
            fields=[
                ('name', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('started_at', models.DateTimeField(help_text='When it was last started.')),
            ],
        ),
        migrations.CreateModel(
            name='Process',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('role', models.CharField(choices=[('web', 'Web'), ('beat', 'Beat'), ('dispatcher', 'Dispatcher'), ('deliverer', 'Deliverer')], max_length=16)),
                ('host', models.CharField(max_length=255)),
                ('pid', models.PositiveIntegerField(help_text='The id of the process on its host.')),
                ('version', models.CharField(max_length=64)),
                ('started_at', models.DateTimeField()),
                ('seen_at', models.DateTimeField(help_text='When it last reported that it is alive.')),
                ('steady_since', models.DateTimeField(help_text='Since when it has reported without a gap.')),
                ('worked_at', models.DateTimeField(help_text='When it last began some work, for example a tick.', null=True)),
                ('taken_over_at', models.DateTimeField(help_text='When others last took over what it held, because it was dead or out of reach.', null=True)),
            ],
            options={
                'verbose_name_plural': 'processes',
            },
        ),
    ]
