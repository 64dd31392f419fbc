"""How a batch's rows are sent: one array of a composite type for each table."""

from django.db import migrations

TYPES = """
CREATE TYPE orderbook_order_row AS (
    id bigint, market_id integer, user_id bigint, side smallint, time_in_force smallint,
    price_ticks bigint, quantity_lots bigint, entry_state smallint, taken_lots bigint,
    taken_minor bigint, taken_fee_minor bigint, state smallint, remaining_lots bigint,
    made_minor bigint, made_fee_minor bigint, kind smallint, self_trade smallint,
    client_order_id text, refusal text, hold_id bigint, ended_id bigint, key_id bigint
);
CREATE TYPE orderbook_order_change AS (
    id bigint, lots bigint, reduced bigint, minor bigint, fee bigint, state smallint,
    ended_id bigint, hold_id bigint
);
CREATE TYPE orderbook_fill_row AS (
    id bigint, market_id integer, taker_side smallint, price_ticks bigint, quantity_lots bigint,
    amount_minor bigint, maker_order_id bigint, taker_order_id bigint, maker_user_id bigint,
    taker_user_id bigint, maker_fee_minor bigint, taker_fee_minor bigint, ledger_batch_id bigint,
    is_auction boolean
);
CREATE TYPE orderbook_clientorder_row AS (digest uuid, order_id bigint);
"""
NO_TYPES = """
DROP TYPE orderbook_order_row, orderbook_order_change, orderbook_fill_row,
    orderbook_clientorder_row;
"""


class Migration(migrations.Migration):
    dependencies = [("orderbook", "0006_voucher_protection"), ("edge", "0002_expect")]

    operations = [migrations.RunSQL(TYPES, NO_TYPES)]
