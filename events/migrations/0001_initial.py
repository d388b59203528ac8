import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('organizations', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Hook',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subscriptions', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), help_text='Names of events. A last word of * matches all names below.', size=None)),
                ('subscribed_objects', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), blank=True, default=list, help_text='If empty, events about any object.', size=None)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('command', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='hooks', to='organizations.command')),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='hooks', to='organizations.organization')),
                ('user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='hooks', to='organizations.user')),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('command', 'user'), name='events_hook_subscriber', nulls_distinct=False)],
            },
        ),
    ]
