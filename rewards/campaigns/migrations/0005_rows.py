"""How a batch's claims and refusals are sent: one array of a composite type for each table."""

from django.db import migrations

TYPES = """
CREATE TYPE campaigns_claim_row AS (
    id bigint, campaign_id bigint, version_id bigint, owner_id bigint, request uuid,
    at timestamptz, channel text, order_key text, referrer_id bigint, variant text,
    payments jsonb, drawn jsonb, counted jsonb, state text, reason text
);
CREATE TYPE campaigns_refusal_row AS (
    campaign_id bigint, owner_id bigint, version_id bigint, at timestamptz, channel text,
    order_key text, code text, misses jsonb
);
"""
NO_TYPES = "DROP TYPE campaigns_claim_row, campaigns_refusal_row"


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0004_hot_rows")]

    operations = [migrations.RunSQL(TYPES, NO_TYPES)]
