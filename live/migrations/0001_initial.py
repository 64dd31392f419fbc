from django.db import migrations, models

OUTBOX = """
CREATE SEQUENCE live_outbox_id AS bigint;
CREATE TABLE live_outboxevent (
    id bigint NOT NULL DEFAULT nextval('live_outbox_id'),
    topic varchar(80) NOT NULL,
    key varchar(80) NOT NULL,
    payload bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE TABLE live_outboxevent_default PARTITION OF live_outboxevent DEFAULT;
ALTER SEQUENCE live_outbox_id OWNED BY live_outboxevent.id;
"""
DROP_OUTBOX = "DROP TABLE live_outboxevent"
FIRST_ROW = "INSERT INTO live_relay (id, position, is_asleep, lag_events, lag_ms) VALUES (1, 0, false, 0, 0)"


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Relay",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                (
                    "position",
                    models.BigIntegerField(default=0, help_text="Every event up to it was told."),
                ),
                (
                    "is_asleep",
                    models.BooleanField(
                        default=False, help_text="Wants a NOTIFY for the next event."
                    ),
                ),
                ("heartbeat_at", models.DateTimeField(null=True)),
                (
                    "lag_events",
                    models.BigIntegerField(default=0, help_text="Not told yet; at most so many."),
                ),
                (
                    "lag_ms",
                    models.FloatField(default=0.0, help_text="Age of the oldest that is not told."),
                ),
            ],
        ),
        migrations.RunSQL(FIRST_ROW, migrations.RunSQL.noop),
        migrations.RunSQL("ALTER TABLE live_relay SET (fillfactor = 10)", migrations.RunSQL.noop),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(OUTBOX, DROP_OUTBOX)],
            state_operations=[
                migrations.CreateModel(
                    name="OutboxEvent",
                    fields=[
                        ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                        ("topic", models.CharField(max_length=80)),
                        ("key", models.CharField(max_length=80)),
                        ("payload", models.BinaryField(help_text="One JSON value.")),
                        ("created_at", models.DateTimeField()),
                    ],
                ),
            ],
        ),
    ]
