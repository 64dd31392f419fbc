"""A statement in the middle of a journey can end it: `edge/journey.py`."""

from django.db import migrations

EXPECT = """
CREATE FUNCTION edge_expect(counted bigint, expected bigint, what text) RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
    IF counted IS DISTINCT FROM expected THEN
        RAISE EXCEPTION USING ERRCODE = 'SC001', MESSAGE = what,
            DETAIL = format('found %s in place of %s', counted, expected);
    END IF;
    RETURN counted;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("edge", "0001_initial")]

    operations = [migrations.RunSQL(EXPECT, "DROP FUNCTION edge_expect")]
