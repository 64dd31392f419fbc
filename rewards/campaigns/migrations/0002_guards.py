"""What PostgreSQL itself holds: a version's content, a claim's story, and who pays for what."""

from typing import Any

from django.db import migrations

GUARDS = """
CREATE SEQUENCE campaigns_claim_id AS bigint;

CREATE FUNCTION campaigns_guard_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'a version stays: DELETE refused' USING ERRCODE = 'restrict_violation';
    END IF;
    IF (NEW.id, NEW.campaign_id, NEW.number, NEW.terms, NEW.starts_at, NEW.ends_at, NEW.nonce,
        NEW.commitment, NEW.proposed_by_id, NEW.proposed_at)
       IS DISTINCT FROM
       (OLD.id, OLD.campaign_id, OLD.number, OLD.terms, OLD.starts_at, OLD.ends_at, OLD.nonce,
        OLD.commitment, OLD.proposed_by_id, OLD.proposed_at)
       OR OLD.state <> 'draft' THEN
        RAISE EXCEPTION 'what a version says never changes' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_version BEFORE UPDATE OR DELETE ON campaigns_campaignversion
    FOR EACH ROW EXECUTE FUNCTION campaigns_guard_version();

CREATE FUNCTION campaigns_guard_claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'a claim stays: DELETE refused' USING ERRCODE = 'restrict_violation';
    END IF;
    IF (NEW.id, NEW.campaign_id, NEW.version_id, NEW.owner_id, NEW.request, NEW.at, NEW.variant,
        NEW.referrer_id, NEW.payments, NEW.drawn, NEW.counted)
       IS DISTINCT FROM
       (OLD.id, OLD.campaign_id, OLD.version_id, OLD.owner_id, OLD.request, OLD.at, OLD.variant,
        OLD.referrer_id, OLD.payments, OLD.drawn, OLD.counted)
       OR (OLD.state = 'reversed' AND NEW.state <> 'reversed') THEN
        RAISE EXCEPTION 'the story of a claim never changes'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_claim BEFORE UPDATE OR DELETE ON campaigns_claim
    FOR EACH ROW EXECUTE FUNCTION campaigns_guard_claim();

-- Counters are updated in place by every claim.
ALTER TABLE campaigns_counted SET (fillfactor = 70);
"""

KINDS = [
    # code, name, side, is_owned, floor
    ("promotion", "Promotions", "Expenses", False, None),
    ("receivable", "Owed by partners", "Assets", False, None),
    ("status", "Tier points", "Equity", True, 0),
]


def add_kinds(apps: Any, schema_editor: Any) -> None:
    account_kind = apps.get_model("wallet", "AccountKind")
    for code, name, side, is_owned, floor in KINDS:
        account_kind.objects.get_or_create(
            code=code,
            defaults={"name": name, "side": side, "is_owned": is_owned, "floor": floor},
        )


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0001_campaigns"), ("wallet", "0005_lots")]

    operations = [
        migrations.RunSQL(GUARDS, migrations.RunSQL.noop),
        migrations.RunPython(add_kinds, migrations.RunPython.noop),
    ]
