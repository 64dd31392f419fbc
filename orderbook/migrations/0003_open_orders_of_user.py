"""One's waiting orders are found by an index of their own, however long one's history is."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("orderbook", "0002_market_data")]

    operations = [
        migrations.RunSQL(
            "CREATE INDEX orderbook_order_open_of_user ON orderbook_order (user_id, id)"
            " WHERE state = 0",
            "DROP INDEX orderbook_order_open_of_user",
        ),
    ]
