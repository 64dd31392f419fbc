"""Tell every keyring when a key, its owner or the owner's roles change."""

from django.db import migrations

NOTIFY = """
CREATE FUNCTION accounts_notify_keyring() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed record := COALESCE(NEW, OLD);
BEGIN
    PERFORM pg_notify(
        'accounts_keyring',
        CASE TG_TABLE_NAME
            WHEN 'accounts_apikey' THEN 'key:' || (to_jsonb(changed) ->> 'id')
            WHEN 'accounts_user' THEN 'user:' || (to_jsonb(changed) ->> 'id')
            ELSE 'user:' || (to_jsonb(changed) ->> 'user_id')
        END
    );
    RETURN NULL;
END $$;
CREATE TRIGGER accounts_keyring_hears_keys
    AFTER INSERT OR DELETE OR
        UPDATE OF digest, prefix, owner_id, scopes, expires_at, revoked_at ON accounts_apikey
    FOR EACH ROW EXECUTE FUNCTION accounts_notify_keyring();
CREATE TRIGGER accounts_keyring_hears_people
    AFTER UPDATE OF is_active, is_superuser ON accounts_user
    FOR EACH ROW WHEN (
        OLD.is_active IS DISTINCT FROM NEW.is_active
        OR OLD.is_superuser IS DISTINCT FROM NEW.is_superuser
    ) EXECUTE FUNCTION accounts_notify_keyring();
CREATE TRIGGER accounts_keyring_hears_roles
    AFTER INSERT OR DELETE OR UPDATE ON accounts_user_groups
    FOR EACH ROW EXECUTE FUNCTION accounts_notify_keyring();
"""
SILENCE = """
DROP TRIGGER accounts_keyring_hears_keys ON accounts_apikey;
DROP TRIGGER accounts_keyring_hears_people ON accounts_user;
DROP TRIGGER accounts_keyring_hears_roles ON accounts_user_groups;
DROP FUNCTION accounts_notify_keyring();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_roles")]

    operations = [migrations.RunSQL(NOTIFY, SILENCE)]
