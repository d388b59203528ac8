import commands_platform.lib.database.encrypted
import commands_platform.lib.database.identifiers
import deliveries.attempts
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('organizations', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.UUIDField(default=commands_platform.lib.database.identifiers.new_ledger_id, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('scheduled', 'Scheduled'), ('manual', 'Manual'), ('event', 'Event')], max_length=16)),
                ('source_uuid', models.UUIDField()),
                ('destination', models.CharField(blank=True, default='', max_length=40)),
                ('due_at', models.DateTimeField()),
                ('last_due_at', models.DateTimeField(null=True)),
                ('slot_count', models.PositiveBigIntegerField(default=1)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('delivered', 'Delivered'), ('failed', 'Failed'), ('cancelled', 'Cancelled'), ('skipped', 'Skipped')], default='pending', max_length=16)),
                ('reason', models.CharField(blank=True, choices=[('missed', 'the server was not running at the time, or too many runs were late'), ('paused', 'the schedule was paused'), ('overlap', 'the run before it was not finished'), ('excluded', 'the schedule does not run on this day'), ('outside_window', 'the schedule had ended when it could have been sent'), ('no_callback_url', 'neither the schedule nor its command has a callback URL'), ('invalid_callback_url', 'the callback URL is not a valid URL'), ('organization_inactive', 'the organization is inactive'), ('command_inactive', 'the command is inactive'), ('command_not_installed', 'the organization has not installed the command'), ('command_not_allowed', 'the organization does not allow the command to do this'), ('user_inactive', 'the user it runs as is inactive'), ('schedule_paused', 'the schedule was paused before it was sent'), ('schedule_changed', 'the schedule was changed before it was sent'), ('schedule_deactivated', 'the schedule was deactivated before it was sent'), ('schedule_deleted', 'the schedule was deleted before it was sent'), ('hook_removed', 'the hook was removed before it was sent'), ('invalid_schedule', 'its slots can no longer be computed'), ('blocked_address', "callbacks may not reach the receiver's address"), ('rejected', "the receiver's answer said not to try again"), ('gone', 'the receiver answered that it is gone for good'), ('retries_exhausted', 'every attempt failed'), ('expired', 'the receiver could not be reached for too long'), ('unsendable', 'the request could not be made'), ('poison', 'several senders stopped while they had it in hand')], default='', max_length=32)),
                ('url', models.TextField(blank=True, default='')),
                ('origin', models.TextField(blank=True, default='', help_text='Scheme, host and port of the URL.')),
                ('headers', commands_platform.lib.database.encrypted.CopiedValuesField(blank=True, default='', help_text='Extra headers as a JSON object with encrypted values, or empty.')),
                ('timeout', models.PositiveSmallIntegerField(help_text="In seconds. If empty, the server's default applies.", null=True)),
                ('correlation_id', models.TextField(editable=False, help_text='The X-Correlation-Id of the request that caused it. If empty, its own id.', null=True)),
                ('schedule_name', models.TextField(help_text="The name of a run's schedule when the run was planned.", null=True)),
                ('body', models.TextField(blank=True, default='', help_text='The JSON payload of a run, or the whole JSON body of an event.')),
                ('attempt_count', models.PositiveSmallIntegerField(default=0)),
                ('max_attempts', models.PositiveSmallIntegerField(default=0)),
                ('attempts_before', models.PositiveSmallIntegerField(db_default=0, default=0, help_text='Attempts made before it was last redelivered. Retry delays are counted from there.')),
                ('next_attempt_at', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField(help_text='It fails if its origin still does not answer by then.')),
                ('lease', models.UUIDField(help_text='Identifies the claim that holds it while it is being sent.', null=True)),
                ('leased_until', models.DateTimeField(null=True)),
                ('attempts', deliveries.attempts.AttemptsField(default=list)),
                ('last_status', models.PositiveSmallIntegerField(null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('command', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='organizations.command')),
                ('organization', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='organizations.organization')),
                ('user', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='organizations.user')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('finished_at', None), ('next_attempt_at__isnull', False), ('state', 'pending')), models.Q(('finished_at', None), ('lease', None), ('next_attempt_at', None), ('state', 'pending')), models.Q(models.Q(('state', 'pending'), _negated=True), ('finished_at__isnull', False), ('lease', None), ('next_attempt_at', None)), _connector='OR'), name='deliveries_delivery_pending'), models.CheckConstraint(condition=models.Q(models.Q(('lease', None), ('leased_until', None)), models.Q(('lease__isnull', False), ('leased_until__isnull', False)), _connector='OR'), name='deliveries_delivery_lease'), models.CheckConstraint(condition=models.Q(('state', 'pending'), models.Q(('reason', ''), ('state', 'delivered')), models.Q(models.Q(('state', 'delivered'), _negated=True), models.Q(('reason', ''), _negated=True)), _connector='OR'), name='deliveries_delivery_reason'), models.CheckConstraint(condition=models.Q(models.Q(('last_due_at', None), ('slot_count', 1)), models.Q(('last_due_at__gt', models.F('due_at')), ('slot_count__gt', 1), ('state', 'skipped')), _connector='OR'), name='deliveries_delivery_range')],
            },
        ),
        # Django knows no partitioned tables. Pending rows are the queue. A row that ends moves to the partition of its
        # day. Days have partitions of their own, made and dropped by `deliveries.partitions`, and the default partition
        # has rows of other days.
        migrations.RunSQL(
            """
            ALTER TABLE deliveries_delivery RENAME TO deliveries_model;
            CREATE TABLE deliveries_delivery (LIKE deliveries_model INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
                PARTITION BY LIST (state);
            DROP TABLE deliveries_model;
            CREATE TABLE deliveries_queue PARTITION OF deliveries_delivery FOR VALUES IN ('pending');
            CREATE TABLE deliveries_finished PARTITION OF deliveries_delivery
                FOR VALUES IN ('delivered', 'failed', 'cancelled', 'skipped') PARTITION BY RANGE (due_at);
            CREATE TABLE deliveries_finished_other PARTITION OF deliveries_finished DEFAULT;
            """,
            "DROP TABLE deliveries_delivery; CREATE TABLE deliveries_delivery ()",
        ),
        # See `deliveries.floor`.
        migrations.RunSQL("CREATE SEQUENCE deliveries_queue_floor MINVALUE 0", "DROP SEQUENCE deliveries_queue_floor"),
        # A slot is unique in the queue and in the ledger. `deliveries.ledger` keeps it unique across both.
        # The others are for the claim, for the claims of each lane however large the backlog of another lane is, and for
        # runs that wait for the run before them, which are few and looked for whenever outcomes are recorded.
        migrations.RunSQL(
            """
            ALTER TABLE deliveries_queue ADD CONSTRAINT deliveries_queue_pkey PRIMARY KEY (id);
            CREATE UNIQUE INDEX deliveries_queue_slot ON deliveries_queue (source_uuid, due_at, destination);
            CREATE INDEX deliveries_queue_next ON deliveries_queue (next_attempt_at);
            CREATE INDEX deliveries_queue_lane ON deliveries_queue (organization_id, origin, next_attempt_at);
            CREATE INDEX deliveries_queue_waiting ON deliveries_queue (created_at) WHERE next_attempt_at IS NULL;
            """,
            migrations.RunSQL.noop,
        ),
        # The others are for reading a row and lists, newest first, for the operators' list of failures, for rows
        # that must outlive their day, and for the search for receivers that are gone.
        migrations.RunSQL(
            """
            CREATE UNIQUE INDEX deliveries_finished_slot ON deliveries_finished (source_uuid, due_at, destination);
            CREATE INDEX deliveries_finished_id ON deliveries_finished (id);
            CREATE INDEX deliveries_finished_failed ON deliveries_finished (id) WHERE state = 'failed';
            CREATE INDEX deliveries_finished_late ON deliveries_finished USING brin (finished_at)
                WITH (autosummarize = on);
            CREATE INDEX deliveries_finished_gone ON deliveries_finished (finished_at) WHERE reason = 'gone';
            """,
            migrations.RunSQL.noop,
        ),
        # Claims write new versions of a row. Half of each page is left free for them, so that most versions stay on the
        # page of the first one and need no new index entries (heap-only tuples). The rows change and leave all the time,
        # so the queue is vacuumed and analyzed after each fiftieth of it, and not after the usual fifth.
        migrations.RunSQL(
            "ALTER TABLE deliveries_queue SET (fillfactor = 50, autovacuum_vacuum_threshold = 2000,"
            " autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_threshold = 1000,"
            " autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05)",
            migrations.RunSQL.noop,
        ),
    ]
