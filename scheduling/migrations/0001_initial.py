import commands_platform.lib.clock
import commands_platform.lib.database.encrypted
import commands_platform.lib.json.column
import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth_tokens', '0001_initial'),
        ('organizations', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='UnspentRepeat',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('schedule_uuid', models.UUIDField()),
                ('due_at', models.DateTimeField()),
                ('reason', models.CharField(choices=[('missed', 'the server was not running at the time, or too many runs were late'), ('paused', 'the schedule was paused'), ('overlap', 'the run before it was not finished'), ('excluded', 'the schedule does not run on this day'), ('outside_window', 'the schedule had ended when it could have been sent'), ('no_callback_url', 'neither the schedule nor its command has a callback URL'), ('invalid_callback_url', 'the callback URL is not a valid URL'), ('organization_inactive', 'the organization is inactive'), ('command_inactive', 'the command is inactive'), ('command_not_installed', 'the organization has not installed the command'), ('command_not_allowed', 'the organization does not allow the command to do this'), ('user_inactive', 'the user it runs as is inactive'), ('schedule_paused', 'the schedule was paused before it was sent'), ('schedule_changed', 'the schedule was changed before it was sent'), ('schedule_deactivated', 'the schedule was deactivated before it was sent'), ('schedule_deleted', 'the schedule was deleted before it was sent'), ('hook_removed', 'the hook was removed before it was sent'), ('invalid_schedule', 'its slots can no longer be computed'), ('blocked_address', "callbacks may not reach the receiver's address"), ('rejected', "the receiver's answer said not to try again"), ('gone', 'the receiver answered that it is gone for good'), ('retries_exhausted', 'every attempt failed'), ('expired', 'the receiver could not be reached for too long'), ('unsendable', 'the request could not be made'), ('poison', 'several senders stopped while they had it in hand')], max_length=32)),
            ],
        ),
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
                ('reached_at', models.DateTimeField(help_text='The next run of the schedule that was looked at last.', null=True)),
                ('reached_id', models.BigIntegerField(default=0, help_text='The schedule that was looked at last.')),
                ('seen', models.PositiveBigIntegerField(default=0)),
                ('changed', models.PositiveBigIntegerField(default=0)),
                ('held', models.PositiveBigIntegerField(default=0, help_text='Schedules that were skipped because they were locked or due.')),
                ('invalid', models.PositiveBigIntegerField(default=0)),
                ('version', models.CharField(help_text='The version of the IANA database, like 2026f.', max_length=32, primary_key=True, serialize=False)),
                ('first_used_at', models.DateTimeField(help_text='When a dispatcher first had it. Until then, older ones were used.')),
                ('last_used_at', models.DateTimeField(help_text='When it was last used while a newer one was known.', null=True)),
            ],
            options={
                'verbose_name_plural': 'zone rules',
                'abstract': False,
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('began_at', None), ('finished_at', None), ('reached_at', None)), models.Q(('began_at__isnull', False), ('reached_at__isnull', False)), _connector='OR'), name='scheduling_zonerules_under_way')],
            },
        ),
        migrations.CreateModel(
            name='Calendar',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=64)),
                ('dates', models.TextField(help_text='A JSON array of dates, and of spans such as 2026-12-24/2026-12-26.')),
                ('created_at', models.DateTimeField(default=commands_platform.lib.clock.now, editable=False)),
                ('updated_at', models.DateTimeField(default=commands_platform.lib.clock.now, editable=False)),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='calendars', to='organizations.organization')),
            ],
            options={
                'ordering': ['name'],
                'constraints': [models.UniqueConstraint(fields=('organization', 'name'), name='scheduling_calendar_name')],
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
                ('external_id', models.CharField(blank=True, default='', help_text="The caller's own name for it.", max_length=255)),
                ('tags', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), blank=True, default=list, size=None)),
                ('cron', models.TextField(blank=True, default='', help_text='One expression, or several, each ending with a newline.')),
                ('cron_seconds', models.BooleanField(default=False, help_text='Expressions have six fields, the seconds first.')),
                ('dst_gap', models.CharField(choices=[('run_after', 'Run After'), ('skip', 'Skip')], default='run_after', max_length=16)),
                ('dst_overlap', models.CharField(choices=[('first', 'First'), ('both', 'Both')], default='first', max_length=16)),
                ('every', models.TextField(blank=True, default='', help_text='A period on the wall clock, as JSON. It excludes cron and a frequency.')),
                ('exceptions', models.TextField(blank=True, default='', help_text='A JSON array of dates, spans of dates and calendars on which it does not run.')),
                ('execution_frequency', models.PositiveIntegerField(default=0)),
                ('spread', models.PositiveIntegerField(default=0, help_text='In seconds. Each run is later by a share of it.')),
                ('repeats', models.IntegerField(default=-1, help_text='Number of runs left. -1: it runs for ever.')),
                ('repeats_since', models.DateTimeField(blank=True, editable=False, help_text='The first slot that counts, after repeats were set anew.', null=True)),
                ('payload', commands_platform.lib.json.column.JsonTextField(default=dict)),
                ('callback_url', models.TextField(blank=True, default='', help_text="Empty: the command's URL.")),
                ('timezone_type', models.CharField(choices=[('organization_timezone', 'Organization'), ('user_timezone', 'User'), ('custom_timezone', 'Custom')], default='organization_timezone', max_length=24)),
                ('timezone', models.CharField(blank=True, default='', max_length=64)),
                ('starts_at', models.DateTimeField(blank=True, help_text='There is no slot before this time.', null=True)),
                ('ends_at', models.DateTimeField(blank=True, help_text='There is no slot after this time.', null=True)),
                ('misfire_policy', models.CharField(choices=[('fire_latest', 'Fire Latest'), ('skip', 'Skip'), ('fire_all', 'Fire All')], default='fire_latest', max_length=16)),
                ('misfire_grace', models.PositiveIntegerField(default=5, help_text='In seconds. A slot is missed if an outage ends more than this after it.')),
                ('overlap', models.CharField(choices=[('allow', 'it is sent too'), ('skip', 'it is skipped'), ('queue_one', 'it waits for that run to end, if no other slot waits already')], default='allow', help_text='Applies to slots that are due during a run.', max_length=16)),
                ('timeout', models.PositiveSmallIntegerField(blank=True, help_text="In seconds. Empty: the server's default.", null=True)),
                ('max_attempts', models.PositiveSmallIntegerField(blank=True, help_text="Empty: the server's default.", null=True)),
                ('headers', commands_platform.lib.database.encrypted.EncryptedValuesField(default=dict, help_text='Extra headers of its callbacks.')),
                ('headers_origin', models.TextField(blank=True, default='', help_text='The origin that the headers were given for. They are never sent to another one.')),
                ('correlation_id', models.TextField(editable=False, help_text='The X-Correlation-Id of the request that set its timing.', null=True)),
                ('pause_reason', models.TextField(blank=True, default='', help_text="Why it was paused, in the caller's words.")),
                ('paused_until', models.DateTimeField(blank=True, help_text='When it resumes by itself.', null=True)),
                ('effective_from', models.DateTimeField(help_text='When its current timing began. The ledger has every slot since.')),
                ('anchor_at', models.DateTimeField(help_text='The start of a period: slots are whole periods after it. `every` is counted from its local date.')),
                ('next_run_at', models.DateTimeField(blank=True, null=True)),
                ('deactivation_reason', models.CharField(blank=True, choices=[('completed', 'it has run as often as it should'), ('paused', 'it was paused'), ('invalid', 'its slots can no longer be computed'), ('failing', 'its callbacks have failed for too long'), ('uninstalled', 'its command was removed from the organization'), ('key_revoked', 'the API key that made it was revoked'), ('gone', 'its receiver answered that it is gone for good')], default='', max_length=16)),
                ('created_at', models.DateTimeField(default=commands_platform.lib.clock.now, editable=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('command', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='scheduled_executions', to='organizations.command')),
                ('made_by', models.ForeignKey(db_constraint=False, db_index=False, editable=False, help_text='The API key that created it.', null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='auth_tokens.apikey')),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='scheduled_executions', to='organizations.organization')),
                ('owner', models.ForeignKey(blank=True, db_index=False, help_text='The user it runs as. Empty: no user, only the command and the organization.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='scheduled_executions', to='organizations.user')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(condition=models.Q(('is_active', True)), fields=['next_run_at', 'organization'], name='scheduling_schedule_due'), models.Index(fields=['organization', '-id'], name='scheduling_schedule_list'), models.Index(condition=models.Q(('exceptions', ''), _negated=True), fields=['organization'], name='scheduling_schedule_exceptions'), models.Index(condition=models.Q(('paused_until__isnull', False)), fields=['paused_until'], name='scheduling_schedule_paused'), django.contrib.postgres.indexes.GinIndex(condition=models.Q(('tags', []), _negated=True), fields=['tags'], name='scheduling_schedule_tags'), models.Index(condition=models.Q(('timezone_type', 'user_timezone')), fields=['owner'], name='scheduling_schedule_owner')],
                'constraints': [models.CheckConstraint(condition=models.Q(('repeats__gte', -1)), name='scheduling_schedule_repeats'), models.CheckConstraint(condition=models.Q(('is_active', False), models.Q(('deactivation_reason', ''), ('next_run_at__isnull', False), models.Q(('repeats', 0), _negated=True)), _connector='OR'), name='scheduling_schedule_active'), models.CheckConstraint(condition=models.Q(('misfire_grace__lte', 86400)), name='scheduling_schedule_misfire_grace'), models.UniqueConstraint(condition=models.Q(('external_id', ''), _negated=True), fields=('organization', 'command', 'external_id'), name='scheduling_schedule_external_id'), models.CheckConstraint(condition=models.Q(('every', ''), models.Q(('cron', ''), ('execution_frequency', 0)), _connector='OR'), name='scheduling_schedule_one_rule'), models.CheckConstraint(condition=models.Q(models.Q(('pause_reason', ''), ('paused_until', None)), ('is_active', False), _connector='OR'), name='scheduling_schedule_pause'), models.CheckConstraint(condition=models.Q(('spread__lte', 86400)), name='scheduling_schedule_spread'), models.CheckConstraint(condition=models.Q(('starts_at', None), ('ends_at', None), ('starts_at__lte', models.F('ends_at')), _connector='OR'), name='scheduling_schedule_window'), models.CheckConstraint(condition=models.Q(('timeout', None), models.Q(('timeout__gte', 1), ('timeout__lte', 30)), _connector='OR'), name='scheduling_schedule_timeout'), models.CheckConstraint(condition=models.Q(('max_attempts', None), models.Q(('max_attempts__gte', 1), ('max_attempts__lte', 20)), _connector='OR'), name='scheduling_schedule_max_attempts'), models.CheckConstraint(condition=models.Q(models.Q(('timezone_type', 'user_timezone'), _negated=True), ('owner__isnull', False), _connector='OR'), name='scheduling_schedule_user_zone'), models.CheckConstraint(condition=models.Q(models.Q(('timezone_type', 'custom_timezone'), _negated=True), models.Q(('timezone', ''), _negated=True), _connector='OR'), name='scheduling_schedule_custom_zone')],
            },
        ),
        migrations.CreateModel(
            name='ZoneMove',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('began_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('reached_at', models.DateTimeField(help_text='The next run of the schedule that was looked at last.', null=True)),
                ('reached_id', models.BigIntegerField(default=0, help_text='The schedule that was looked at last.')),
                ('seen', models.PositiveBigIntegerField(default=0)),
                ('changed', models.PositiveBigIntegerField(default=0)),
                ('held', models.PositiveBigIntegerField(default=0, help_text='Schedules that were skipped because they were locked or due.')),
                ('invalid', models.PositiveBigIntegerField(default=0)),
                ('moved_at', models.DateTimeField()),
                ('zone', models.CharField(help_text='The zone it moved to.', max_length=64)),
                ('look_at', models.DateTimeField(help_text='When to work on it next.')),
                ('organization', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='organizations.organization')),
                ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='organizations.user')),
            ],
            options={
                'abstract': False,
                'indexes': [models.Index(fields=['look_at'], name='scheduling_zonemove_look')],
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('began_at', None), ('finished_at', None), ('reached_at', None)), models.Q(('began_at__isnull', False), ('reached_at__isnull', False)), _connector='OR'), name='scheduling_zonemove_under_way'), models.CheckConstraint(condition=models.Q(models.Q(('organization', None), ('user__isnull', False)), models.Q(('organization__isnull', False), ('user', None)), _connector='OR'), name='scheduling_zonemove_one_mover')],
            },
        ),
        # Each run writes a new version of its schedule's row.
        migrations.RunSQL(
            "ALTER TABLE scheduling_scheduledexecution SET (autovacuum_vacuum_threshold = 2000,"
            " autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_threshold = 1000,"
            " autovacuum_analyze_scale_factor = 0.02)",
            "ALTER TABLE scheduling_scheduledexecution RESET (autovacuum_vacuum_threshold,"
            " autovacuum_vacuum_scale_factor, autovacuum_analyze_threshold, autovacuum_analyze_scale_factor)",
        ),
    ]
