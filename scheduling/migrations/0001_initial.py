import commands_platform.lib.database.encrypted
import commands_platform.lib.json.column
import django.db.models.deletion
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('organizations', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='DispatcherUptime',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('up_since', models.DateTimeField()),
                ('looked_at', models.DateTimeField(help_text='When a dispatcher last looked.')),
            ],
            options={
                'verbose_name_plural': 'dispatcher uptime',
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='scheduling_dispatcheruptime_single')],
            },
        ),
        migrations.CreateModel(
            name='ZoneRules',
            fields=[
                ('began_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('reached_at', models.DateTimeField(help_text='The next run that was looked at last.', null=True)),
                ('reached_id', models.BigIntegerField(default=0, help_text='The schedule that was looked at last.')),
                ('seen', models.PositiveBigIntegerField(default=0)),
                ('changed', models.PositiveBigIntegerField(default=0)),
                ('held', models.PositiveBigIntegerField(default=0, help_text='Schedules that were left, locked by somebody or due.')),
                ('invalid', models.PositiveBigIntegerField(default=0)),
                ('version', models.CharField(help_text="The IANA database's, like 2026f.", max_length=32, primary_key=True, serialize=False)),
                ('first_used_at', models.DateTimeField(help_text='When a dispatcher first had it; before, older ones were used.')),
                ('last_used_at', models.DateTimeField(help_text='When it was last used although a newer one was known.', null=True)),
            ],
            options={
                'verbose_name_plural': 'zone rules',
                'abstract': False,
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('began_at', None), ('finished_at', None), ('reached_at', None)), models.Q(('began_at__isnull', False), ('reached_at__isnull', False)), _connector='OR'), name='scheduling_zonerules_under_way')],
            },
        ),
        migrations.CreateModel(
            name='ScheduledExecution',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('name', models.CharField(max_length=255)),
                ('is_active', models.BooleanField(default=True)),
                ('description', models.TextField(blank=True, default='')),
                ('cron', models.TextField(blank=True, default='', help_text='One expression, or several, each of which ends with a newline.')),
                ('cron_seconds', models.BooleanField(default=False, help_text='Expressions have six fields, seconds first.')),
                ('dst_gap', models.CharField(choices=[('run_after', 'Run After'), ('skip', 'Skip')], default='run_after', max_length=16)),
                ('dst_overlap', models.CharField(choices=[('first', 'First'), ('both', 'Both')], default='first', max_length=16)),
                ('execution_frequency', models.PositiveIntegerField(default=0)),
                ('repeats', models.IntegerField(default=-1, help_text='Runs that are left; -1: for ever.')),
                ('payload', commands_platform.lib.json.column.JsonTextField(default=dict)),
                ('callback_url', models.TextField(blank=True, default='', help_text="Empty: the command's.")),
                ('timezone_type', models.CharField(choices=[('organization_timezone', 'Organization'), ('user_timezone', 'User'), ('custom_timezone', 'Custom')], default='organization_timezone', max_length=24)),
                ('timezone', models.CharField(blank=True, default='', max_length=64)),
                ('starts_at', models.DateTimeField(blank=True, help_text='No slot is before it.', null=True)),
                ('ends_at', models.DateTimeField(blank=True, help_text='No slot is after it.', null=True)),
                ('misfire_policy', models.CharField(choices=[('fire_latest', 'Fire Latest'), ('skip', 'Skip'), ('fire_all', 'Fire All')], default='fire_latest', max_length=16)),
                ('misfire_grace', models.PositiveIntegerField(default=5, help_text='Seconds by which an outage may outlast a slot before the slot counts as missed.')),
                ('skip_overlapping', models.BooleanField(default=False, help_text='A slot is skipped while the one before it is not finished.')),
                ('timeout', models.PositiveSmallIntegerField(blank=True, help_text="In seconds; empty: the server's.", null=True)),
                ('max_attempts', models.PositiveSmallIntegerField(blank=True, help_text="Empty: the server's.", null=True)),
                ('headers', commands_platform.lib.database.encrypted.EncryptedValuesField(default=dict, help_text='Extra headers of its callbacks.')),
                ('headers_origin', models.TextField(blank=True, default='', help_text='The origin that the headers were given for. They are sent nowhere else.')),
                ('effective_from', models.DateTimeField(help_text='When its present timing began; every slot since is in the ledger.')),
                ('anchor_at', models.DateTimeField(help_text='The phase of a period: slots are whole periods after it.')),
                ('next_run_at', models.DateTimeField(blank=True, null=True)),
                ('deactivation_reason', models.CharField(blank=True, choices=[('completed', 'it has run as often as it should'), ('paused', 'it was paused'), ('invalid', 'its slots can no longer be computed'), ('failing', 'its callbacks have failed for too long'), ('uninstalled', 'its command was removed from the organization'), ('gone', 'its receiver answered that it is gone for good')], default='', max_length=16)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('command', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='scheduled_executions', to='organizations.command')),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='scheduled_executions', to='organizations.organization')),
                ('owner', models.ForeignKey(blank=True, db_index=False, help_text='Whom it runs as; empty: the command and the organization alone.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='scheduled_executions', to='organizations.user')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(condition=models.Q(('is_active', True)), fields=['next_run_at'], name='scheduling_schedule_due'), models.Index(fields=['organization', '-id'], name='scheduling_schedule_list'), models.Index(condition=models.Q(('timezone_type', 'user_timezone')), fields=['owner'], name='scheduling_schedule_owner')],
                'constraints': [models.CheckConstraint(condition=models.Q(('repeats__gte', -1)), name='scheduling_schedule_repeats'), models.CheckConstraint(condition=models.Q(('is_active', False), models.Q(('deactivation_reason', ''), ('next_run_at__isnull', False), models.Q(('repeats', 0), _negated=True)), _connector='OR'), name='scheduling_schedule_active'), models.CheckConstraint(condition=models.Q(('misfire_grace__lte', 86400)), name='scheduling_schedule_misfire_grace'), models.CheckConstraint(condition=models.Q(('starts_at', None), ('ends_at', None), ('starts_at__lte', models.F('ends_at')), _connector='OR'), name='scheduling_schedule_window'), models.CheckConstraint(condition=models.Q(('timeout', None), models.Q(('timeout__gte', 1), ('timeout__lte', 30)), _connector='OR'), name='scheduling_schedule_timeout'), models.CheckConstraint(condition=models.Q(('max_attempts', None), models.Q(('max_attempts__gte', 1), ('max_attempts__lte', 20)), _connector='OR'), name='scheduling_schedule_max_attempts'), models.CheckConstraint(condition=models.Q(models.Q(('timezone_type', 'user_timezone'), _negated=True), ('owner__isnull', False), _connector='OR'), name='scheduling_schedule_user_zone'), models.CheckConstraint(condition=models.Q(models.Q(('timezone_type', 'custom_timezone'), _negated=True), models.Q(('timezone', ''), _negated=True), _connector='OR'), name='scheduling_schedule_custom_zone')],
            },
        ),
        migrations.CreateModel(
            name='ZoneMove',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('began_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('reached_at', models.DateTimeField(help_text='The next run that was looked at last.', null=True)),
                ('reached_id', models.BigIntegerField(default=0, help_text='The schedule that was looked at last.')),
                ('seen', models.PositiveBigIntegerField(default=0)),
                ('changed', models.PositiveBigIntegerField(default=0)),
                ('held', models.PositiveBigIntegerField(default=0, help_text='Schedules that were left, locked by somebody or due.')),
                ('invalid', models.PositiveBigIntegerField(default=0)),
                ('moved_at', models.DateTimeField()),
                ('look_at', models.DateTimeField(help_text='When there is something to do for it.')),
                ('organization', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='organizations.organization')),
                ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='organizations.user')),
            ],
            options={
                'abstract': False,
                'indexes': [models.Index(fields=['look_at'], name='scheduling_zonemove_look')],
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('began_at', None), ('finished_at', None), ('reached_at', None)), models.Q(('began_at__isnull', False), ('reached_at__isnull', False)), _connector='OR'), name='scheduling_zonemove_under_way'), models.CheckConstraint(condition=models.Q(models.Q(('organization', None), ('user__isnull', False)), models.Q(('organization__isnull', False), ('user', None)), _connector='OR'), name='scheduling_zonemove_one_mover')],
            },
        ),
    ]
