from django.db import migrations


class Migration(migrations.Migration):
    """Half of each page for the versions that a claim and an outcome make of a row: a claim then needs no index entry."""

    dependencies = [("deliveries", "0002_room_for_claims")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE deliveries_delivery SET (fillfactor = 50)",
            "ALTER TABLE deliveries_delivery SET (fillfactor = 70)",
        )
    ]
