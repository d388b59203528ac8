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
            name='Item',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('namespace', models.CharField(blank=True, db_collation='C', default='', max_length=255)),
                ('key', models.CharField(db_collation='C', max_length=255)),
                ('value', commands_platform.lib.json.column.JsonTextField()),
                ('version', models.BigIntegerField(default=1, help_text='Each write adds one.')),
                ('expires_at', models.DateTimeField(blank=True, help_text='Empty: never.', null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('command', models.ForeignKey(blank=True, db_index=False, help_text='Empty: the item belongs to the organization, in a namespace.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='items', to='organizations.command')),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='items', to='organizations.organization')),
                ('user', models.ForeignKey(blank=True, db_index=False, help_text='Empty: the item belongs to no user.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='items', to='organizations.user')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(condition=models.Q(('expires_at__isnull', False)), fields=['expires_at'], name='storage_item_expiry')],
                'constraints': [models.UniqueConstraint(fields=('organization', 'command', 'user', 'namespace', 'key'), name='storage_item_place', nulls_distinct=False), models.CheckConstraint(condition=models.Q(('command__isnull', False), models.Q(('user', None), models.Q(('namespace', ''), _negated=True)), _connector='OR'), name='storage_item_bucket'), models.CheckConstraint(condition=models.Q(('key', ''), _negated=True), name='storage_item_key'), models.CheckConstraint(condition=models.Q(('version__gte', 1)), name='storage_item_version')],
            },
        ),
    ]
