import commands_platform.lib.database.encrypted
import commands_platform.lib.database.identifiers
import commands_platform.lib.json.column
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('organizations', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Chain',
            fields=[
                ('organization', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='+', serialize=False, to='organizations.organization')),
                ('head', commands_platform.lib.database.encrypted.EncryptedTextField(editable=False)),
            ],
        ),
        migrations.CreateModel(
            name='Change',
            fields=[
                ('id', models.UUIDField(default=commands_platform.lib.database.identifiers.new_ledger_id, editable=False, primary_key=True, serialize=False)),
                ('recorded_at', models.DateTimeField()),
                ('actor_kind', models.CharField(choices=[('api_key', 'api key'), ('command_line', 'command line'), ('operator', 'operator'), ('platform', 'platform')], max_length=16)),
                ('actor_uuid', models.UUIDField(help_text='The UUID of the API key.', null=True)),
                ('actor_name', models.TextField()),
                ('actor_address', models.TextField(blank=True)),
                ('correlation_id', models.TextField(blank=True, help_text='Of the request that made the change.')),
                ('verb', models.CharField(choices=[('created', 'created'), ('changed', 'changed'), ('deleted', 'deleted'), ('revoked', 'revoked'), ('rotated', 'rotated'), ('secret_rotated', 'secret rotated'), ('secrets_shown', 'secrets shown'), ('signature_rotated', 'signature rotated'), ('tokens_revoked', 'tokens revoked')], max_length=24)),
                ('object_kind', models.CharField(choices=[('api_key', 'api key'), ('calendar', 'calendar'), ('command', 'command'), ('hook', 'hook'), ('installation', 'installation'), ('organization', 'organization'), ('schedule', 'schedule'), ('user', 'user')], max_length=16)),
                ('object_uuid', models.TextField(help_text='A UUID, or the number of a hook or a calendar.')),
                ('object_name', models.TextField()),
                ('old', commands_platform.lib.json.column.JsonTextField(default=dict)),
                ('new', commands_platform.lib.json.column.JsonTextField(default=dict)),
                ('position', models.BigIntegerField(help_text="The place in the organization's chain, from 1.", null=True)),
                ('hash', models.TextField(blank=True, default='')),
                ('organization', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='organizations.organization')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['organization', '-id'], name='audit_change_list'), models.Index(condition=models.Q(('actor_uuid__isnull', False)), fields=['organization', 'actor_uuid', '-id'], name='audit_change_actor'), models.Index(fields=['object_uuid', '-id'], name='audit_change_object'), models.Index(condition=models.Q(('object_kind', 'schedule'), _negated=True), fields=['organization', 'object_kind', '-id'], name='audit_change_kind'), models.Index(condition=models.Q(('position', None)), fields=['organization', 'id'], name='audit_change_unsealed')],
                'constraints': [models.UniqueConstraint(fields=('organization', 'position'), name='audit_change_position'), models.CheckConstraint(condition=models.Q(models.Q(('hash', ''), ('position', None)), models.Q(('position__gte', 1), models.Q(('hash', ''), _negated=True)), _connector='OR'), name='audit_change_sealed')],
            },
        ),
    ]
