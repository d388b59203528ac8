from django.db import migrations


class Migration(migrations.Migration):
    """Room on each page for the version of a row that its claim makes: beside the first one, it needs no index entry."""

    dependencies = [("deliveries", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE deliveries_delivery SET (fillfactor = 70)",
            "ALTER TABLE deliveries_delivery RESET (fillfactor)",
        )
    ]
