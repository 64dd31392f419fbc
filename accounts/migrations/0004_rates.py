"""A key may have a rate of its own at the gateway; every keyring hears of it."""

from django.db import migrations, models
from django.db.models import Q

TRIGGER = """
DROP TRIGGER accounts_keyring_hears_keys ON accounts_apikey;
CREATE TRIGGER accounts_keyring_hears_keys
    AFTER INSERT OR DELETE OR
        UPDATE OF digest, prefix, owner_id, scopes, expires_at, revoked_at{more} ON accounts_apikey
    FOR EACH ROW EXECUTE FUNCTION accounts_notify_keyring();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_keyring")]

    operations = [
        migrations.AddField(
            "apikey",
            "rate_per_s",
            models.PositiveIntegerField(
                "commands a second",
                null=True,
                blank=True,
                help_text="What the gateway takes from this key; empty is what everybody may send.",
            ),
        ),
        migrations.AddField(
            "apikey",
            "rate_burst",
            models.PositiveIntegerField(
                "commands at once",
                null=True,
                blank=True,
                help_text="After a rest; 500 make a full batch.",
            ),
        ),
        migrations.AddConstraint(
            "apikey",
            models.CheckConstraint(
                condition=Q(rate_per_s__isnull=True, rate_burst__isnull=True)
                | Q(rate_per_s__gte=1, rate_burst__gte=1),
                name="accounts_apikey_rate",
            ),
        ),
        migrations.RunSQL(TRIGGER.format(more=", rate_per_s, rate_burst"), TRIGGER.format(more="")),
    ]
