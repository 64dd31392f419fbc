"""Remembered answers in four partitions, and the audit trail that only grows."""

from django.db import migrations, models

SLOTS = 4

IDEMPOTENCY_KEYS = """
CREATE TABLE edge_idempotencykey (
    digest uuid NOT NULL,
    slot smallint NOT NULL,
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    status smallint NOT NULL CHECK (status BETWEEN 200 AND 499),
    content_type varchar(100) NOT NULL,
    body bytea NOT NULL CHECK (octet_length(body) <= 256000),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (digest, slot)
) PARTITION BY LIST (slot);
""" + "\n".join(
    f"CREATE TABLE edge_idempotencykey_{slot} PARTITION OF edge_idempotencykey"
    f" FOR VALUES IN ({slot});"
    for slot in range(SLOTS)
)

APPEND_ONLY = """
CREATE FUNCTION edge_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: rows are only ever added', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER edge_auditevent_append_only BEFORE UPDATE OR DELETE ON edge_auditevent
    FOR EACH ROW EXECUTE FUNCTION edge_refuse_change();
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(IDEMPOTENCY_KEYS, "DROP TABLE edge_idempotencykey"),
            ],
            state_operations=[
                migrations.CreateModel(
                    name="IdempotencyKey",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "digest",
                                "slot",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("slot", models.SmallIntegerField()),
                        (
                            "digest",
                            models.UUIDField(
                                help_text="SHA-256 of person, method, path and key; 128 bits of it."
                            ),
                        ),
                        (
                            "fingerprint",
                            models.BinaryField(
                                help_text="SHA-256 of the request body.", max_length=32
                            ),
                        ),
                        ("status", models.SmallIntegerField()),
                        ("content_type", models.CharField(max_length=100)),
                        ("body", models.BinaryField()),
                        ("created_at", models.DateTimeField()),
                    ],
                ),
            ],
        ),
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                (
                    "actor_id",
                    models.BigIntegerField(
                        help_text="The person; none for the platform.", null=True
                    ),
                ),
                ("actor_name", models.CharField(max_length=254)),
                (
                    "action",
                    models.CharField(
                        help_text="room.verb, as in accounts.revoke_key", max_length=60
                    ),
                ),
                ("object_type", models.CharField(max_length=60)),
                ("object_id", models.CharField(max_length=60)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("before", models.JSONField(null=True)),
                ("after", models.JSONField(null=True)),
                ("ip", models.GenericIPAddressField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["object_type", "object_id", "-id"], name="edge_audit_object"
                    ),
                    models.Index(fields=["actor_id", "-id"], name="edge_audit_actor"),
                ],
            },
        ),
        migrations.RunSQL(
            APPEND_ONLY,
            "DROP TRIGGER edge_auditevent_append_only ON edge_auditevent;"
            " DROP FUNCTION edge_refuse_change()",
        ),
    ]
