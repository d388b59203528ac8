import commands_platform.lib.database.encrypted
import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('organizations', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('name', models.CharField(blank=True, max_length=100)),
                ('prefix', models.CharField(editable=False, max_length=8, unique=True)),
                ('secret_hash', models.BinaryField(unique=True)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('AUTH_FETCH_EXCHANGE_TOKEN', 'Auth Fetch Exchange Token'), ('SCHEDULING', 'Scheduling'), ('STORAGE', 'Storage'), ('EVENT_SUBSCRIPTION', 'Event Subscription'), ('EVENTS_PUBLISH', 'Events Publish'), ('ACTIVITY', 'Activity'), ('DIRECTORY', 'Directory'), ('MANAGE', 'Manage')], max_length=40), default=list, size=None)),
                ('rate_limit', models.PositiveIntegerField(blank=True, help_text="Requests a minute. Empty: the server's default. 0: no limit.", null=True)),
                ('allowed_networks', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), blank=True, default=list, help_text='Where it may be used from, in CIDR notation. None: everywhere.', size=None)),
                ('pauses_after', models.BigIntegerField(editable=False, help_text='Schedules that it made, after this one, are still to be paused.', null=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('command', models.ForeignKey(blank=True, help_text='Only a key that is bound to a command may fetch exchange tokens.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to='organizations.command')),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to='organizations.organization')),
                ('owner', models.ForeignKey(blank=True, help_text='The user that /v1/me/ shows. The owner gives the key no rights.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to='organizations.user')),
                ('replaces', models.ForeignKey(editable=False, help_text='The key that was rotated when this one was made.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='replaced_by', to='auth_tokens.apikey')),
            ],
            options={
                'verbose_name': 'API key',
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='IdempotentRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('digest', models.BinaryField(help_text='The SHA-256 of its API key, method, path and key.')),
                ('fingerprint', models.BinaryField(help_text='The SHA-256 of its body, query and token.')),
                ('status', models.PositiveSmallIntegerField()),
                ('answer', commands_platform.lib.database.encrypted.EncryptedTextField(help_text='Its headers and body. They may hold a secret that is shown only once.')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('api_key', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='auth_tokens.apikey')),
            ],
        ),
        migrations.AddIndex(
            model_name='apikey',
            index=models.Index(condition=models.Q(('pauses_after__isnull', False)), fields=['pauses_after'], name='auth_tokens_apikey_pauses'),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(('command', None), models.Q(('scopes__contains', ['MANAGE']), _negated=True), _connector='OR'), name='auth_tokens_apikey_manager', violation_error_message='A key that is bound to a command cannot have the scope MANAGE.'),
        ),
        migrations.AddIndex(
            model_name='idempotentrequest',
            index=models.Index(fields=['created_at'], name='auth_tokens_idempotentreq_age'),
        ),
        migrations.AddConstraint(
            model_name='idempotentrequest',
            constraint=models.UniqueConstraint(fields=('api_key', 'digest'), name='auth_tokens_idempotentrequest_once'),
        ),
    ]
