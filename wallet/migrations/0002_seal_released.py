"""The hash chain's seals, and what a post released: holds can be rebuilt from the journal."""

from django.db import migrations, models
from django.db.models import F, Q

GUARD = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON wallet_seal
    FOR EACH ROW EXECUTE FUNCTION wallet_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON wallet_seal
    FOR EACH STATEMENT EXECUTE FUNCTION wallet_refuse_change();
ALTER TABLE wallet_seal ADD CONSTRAINT wallet_seal_digest CHECK (octet_length(digest) = 32);
ALTER TABLE wallet_transfer ADD CONSTRAINT wallet_transfer_released
    CHECK (released IS NULL OR (kind = 3 AND released > 0));
"""
# Statement triggers of a table do not reach its partitions: each needs its own.
GUARD_PARTITIONS = """
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN
        SELECT inhrelid FROM pg_inherits
         WHERE inhparent IN ('wallet_transfer'::regclass, 'wallet_entry'::regclass,
                             'wallet_batch'::regclass)
    LOOP
        EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %s
            FOR EACH STATEMENT EXECUTE FUNCTION wallet_refuse_change()', part);
    END LOOP;
END $$;
"""
NO_GUARD = """
ALTER TABLE wallet_transfer DROP CONSTRAINT wallet_transfer_released;
"""


class Migration(migrations.Migration):
    dependencies = [("wallet", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="transfer",
            name="released",
            field=models.BigIntegerField(
                null=True, help_text="Rest of the hold that a post freed."
            ),
        ),
        migrations.CreateModel(
            name="Seal",
            fields=[
                ("number", models.BigIntegerField(primary_key=True, serialize=False)),
                ("from_xid", models.BigIntegerField()),
                (
                    "horizon",
                    models.BigIntegerField(help_text="The first transaction id not covered."),
                ),
                ("batch_count", models.BigIntegerField()),
                ("transfer_count", models.BigIntegerField()),
                ("entry_count", models.BigIntegerField()),
                ("digest", models.BinaryField(help_text="SHA-256 of the one before and the rows.")),
                ("sealed_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=Q(number__gte=1), name="wallet_seal_number"),
                    models.CheckConstraint(
                        condition=Q(horizon__gt=F("from_xid")), name="wallet_seal_window"
                    ),
                ]
            },
        ),
        migrations.RunSQL(GUARD, NO_GUARD),
        migrations.RunSQL(GUARD_PARTITIONS, migrations.RunSQL.noop),
    ]
