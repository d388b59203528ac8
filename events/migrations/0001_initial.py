import commands_platform.lib.database.encrypted
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
                ('callback_url', models.TextField(blank=True, default='', help_text="Empty: the command's URL.")),
                ('name', models.CharField(blank=True, default='', max_length=255)),
                ('headers', commands_platform.lib.database.encrypted.EncryptedValuesField(default=dict, help_text='Extra headers of its callbacks.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('command', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='hooks', to='organizations.command')),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='hooks', to='organizations.organization')),
                ('user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='hooks', to='organizations.user')),
            ],
            options={
                'ordering': ['id'],
                'indexes': [models.Index(fields=['organization', 'id'], name='events_hook_of_organization')],
                'constraints': [models.UniqueConstraint(fields=('command', 'user', 'callback_url'), name='events_hook_subscriber', nulls_distinct=False)],
            },
        ),
        migrations.CreateModel(
            name='OutboxEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(unique=True)),
                ('name', models.TextField()),
                ('object_id', models.TextField(blank=True, default='', help_text='Empty if the event is about no single object.')),
                ('body', models.TextField(help_text='As JSON.')),
                ('happened_at', models.DateTimeField()),
                ('correlation_id', models.TextField(help_text='The X-Correlation-Id of the request that published it.', null=True)),
                ('after_hook_id', models.BigIntegerField(default=0, help_text='Hooks up to this one have been handled.')),
                ('until_hook_id', models.BigIntegerField(help_text='The newest hook for it when it was published. Newer hooks do not get it.')),
                ('retry_at', models.DateTimeField(help_text='When to try again after an error.', null=True)),
                ('organization', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='organizations.organization')),
            ],
            options={
                'ordering': ['id'],
                'indexes': [models.Index(fields=['organization', 'id'], name='events_outboxevent_turn')],
            },
        ),
        # Each row is deleted within moments. The deleted rows are removed early, because every look for the next event
        # passes them.
        migrations.RunSQL(
            "ALTER TABLE events_outboxevent"
            " SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)",
            "ALTER TABLE events_outboxevent"
            " RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)",
        ),
    ]
