"""Why an order was cancelled, told to its owner too. Earlier events keep what goes without saying."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orderbook", "0008_cancel_reasons")]

    operations = [
        migrations.AddField(
            model_name="ownevent",
            name="cause",
            field=models.SmallIntegerField(db_default=0, default=0),
        ),
    ]
