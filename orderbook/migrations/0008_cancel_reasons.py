"""Why an order was cancelled. Orders that ended before keep what goes without saying."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orderbook", "0007_rows")]

    operations = [
        migrations.AddField(
            model_name="specialorder",
            name="cause",
            field=models.SmallIntegerField(db_default=0, default=0),
        ),
    ]
