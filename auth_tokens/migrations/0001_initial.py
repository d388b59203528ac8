import django.contrib.postgres.fields
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
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('name', models.CharField(blank=True, max_length=100)),
                ('prefix', models.CharField(editable=False, max_length=8, unique=True)),
                ('secret_hash', models.BinaryField(unique=True)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('AUTH_FETCH_EXCHANGE_TOKEN', 'Auth Fetch Exchange Token'), ('SCHEDULING', 'Scheduling'), ('STORAGE', 'Storage'), ('EVENT_SUBSCRIPTION', 'Event Subscription'), ('EVENTS_PUBLISH', 'Events Publish'), ('ACTIVITY', 'Activity'), ('DIRECTORY', 'Directory'), ('MANAGE', 'Manage')], max_length=40), default=list, size=None)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('command', models.ForeignKey(blank=True, help_text='Only a key that is bound to a command may fetch exchange tokens.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to='organizations.command')),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to='organizations.organization')),
                ('owner', models.ForeignKey(blank=True, help_text='The user that /v1/me/ shows. The owner gives the key no rights.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to='organizations.user')),
            ],
            options={
                'verbose_name': 'API key',
                'ordering': ['-created_at'],
            },
        ),
    ]
