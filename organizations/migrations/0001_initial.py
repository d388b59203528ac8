import commands_platform.lib.database.encrypted
import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.text
import organizations.models
import organizations.secrets
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Organization',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('name', models.CharField(max_length=200, unique=True)),
                ('timezone', models.CharField(default='UTC', max_length=64, validators=[organizations.models.validate_zone])),
                ('is_active', models.BooleanField(default=True)),
                ('quota_schedules', models.PositiveBigIntegerField(blank=True, help_text="Empty: the server's default. 0: no limit.", null=True)),
                ('quota_shortest_period', models.PositiveBigIntegerField(blank=True, help_text="The seconds between two runs of a schedule. Empty: the server's default. 0: no limit.", null=True)),
                ('quota_stored_bytes', models.PositiveBigIntegerField(blank=True, help_text="Empty: the server's default. 0: no limit.", null=True)),
                ('quota_hooks', models.PositiveBigIntegerField(blank=True, help_text="Empty: the server's default. 0: no limit.", null=True)),
                ('quota_redeliveries', models.PositiveBigIntegerField(blank=True, help_text="By callers, in an hour. Empty: the server's default. 0: no limit.", null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Command',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('name', models.CharField(max_length=100)),
                ('callback_url', models.TextField(blank=True)),
                ('is_public', models.BooleanField(default=False, help_text='A public command may act in other organizations that have installed it.')),
                ('is_active', models.BooleanField(default=True)),
                ('signing_secret', commands_platform.lib.database.encrypted.EncryptedTextField(default=organizations.secrets.new_signing_secret, editable=False)),
                ('previous_signing_secret', commands_platform.lib.database.encrypted.EncryptedTextField(blank=True, editable=False)),
                ('previous_secret_expires_at', models.DateTimeField(editable=False, null=True)),
                ('signature', commands_platform.lib.database.encrypted.EncryptedTextField(default=organizations.secrets.new_static_signature, editable=False)),
                ('previous_signature', commands_platform.lib.database.encrypted.EncryptedTextField(blank=True, editable=False)),
                ('previous_signature_expires_at', models.DateTimeField(editable=False, null=True)),
                ('token_generation', models.PositiveIntegerField(default=0, editable=False, help_text='Raising it revokes every exchange token of this command.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='commands', to='organizations.organization')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('full_name', models.CharField(max_length=200)),
                ('email', models.EmailField(blank=True, max_length=254)),
                ('role', models.CharField(choices=[('admin', 'Admin'), ('manager', 'Manager'), ('member', 'Member')], default='member', max_length=16)),
                ('timezone', models.CharField(blank=True, help_text="Empty: the organization's.", max_length=64, validators=[organizations.models.validate_zone])),
                ('is_active', models.BooleanField(default=True)),
                ('token_generation', models.PositiveIntegerField(default=0, editable=False, help_text='Raising it revokes every exchange token of this user.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='users', to='organizations.organization')),
            ],
            options={
                'ordering': ['full_name', 'id'],
            },
        ),
        migrations.CreateModel(
            name='Installation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=40), help_text='What the command may do here.', size=None)),
                ('events', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), blank=True, help_text='Events that it may subscribe to here; * matches all names below.', size=None)),
                ('installed_at', models.DateTimeField(editable=False)),
                ('tokens_valid_from', models.DateTimeField(editable=False, help_text='When the command was last removed. Exchange tokens from before stay void.', null=True)),
                ('removed_at', models.DateTimeField(editable=False, null=True)),
                ('ended_at', models.DateTimeField(editable=False, help_text='When the last schedule, hook and delivery of the removed command ended.', null=True)),
                ('command', models.ForeignKey(limit_choices_to={'is_public': True}, on_delete=django.db.models.deletion.PROTECT, related_name='installations', to='organizations.command')),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='installations', to='organizations.organization')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(condition=models.Q(('ended_at', None), ('removed_at__isnull', False)), fields=['removed_at'], name='organizations_installation_end')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('removed_at', None)), fields=('command', 'organization'), name='organizations_installation_once'), models.CheckConstraint(condition=models.Q(('ended_at', None), ('removed_at__isnull', False), _connector='OR'), name='organizations_installation_ended')],
            },
        ),
        migrations.AddConstraint(
            model_name='command',
            constraint=models.UniqueConstraint(fields=('organization', 'name'), name='organizations_command_name'),
        ),
        migrations.AddConstraint(
            model_name='command',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('previous_secret_expires_at', None), ('previous_signing_secret', '')), models.Q(models.Q(('previous_signing_secret', ''), _negated=True), ('previous_secret_expires_at__isnull', False)), _connector='OR'), name='organizations_command_rotation'),
        ),
        migrations.AddConstraint(
            model_name='command',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('previous_signature', ''), ('previous_signature_expires_at', None)), models.Q(models.Q(('previous_signature', ''), _negated=True), ('previous_signature_expires_at__isnull', False)), _connector='OR'), name='organizations_command_signature'),
        ),
        migrations.AddConstraint(
            model_name='user',
            constraint=models.UniqueConstraint(models.F('organization'), django.db.models.functions.text.Lower('email'), condition=models.Q(('email', ''), _negated=True), name='organizations_user_email', violation_error_message='Another user of the organization has this address.'),
        ),
        migrations.AddConstraint(
            model_name='user',
            constraint=models.CheckConstraint(condition=models.Q(('role__in', ['admin', 'manager', 'member'])), name='organizations_user_role'),
        ),
    ]
