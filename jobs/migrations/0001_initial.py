"""Jobs, laid out for tables that fill and empty fast: docs/decisions/0010-jobs.md."""

from datetime import UTC, datetime
from typing import Any

from django.db import migrations, models

from edge.ids import EPOCH_US, TICK_US

# An id is the tick of edge/ids.py, then 17 bits that count within it, round and round.
TABLES = f"""
CREATE SEQUENCE jobs_job_number MINVALUE 0 MAXVALUE 131071 CYCLE;
CREATE FUNCTION jobs_next_id() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT ((extract(epoch FROM clock_timestamp()) * 1000000)::bigint - {EPOCH_US}) / {TICK_US} << 17
           | nextval('jobs_job_number')
$$;
CREATE TABLE jobs_job (
    id bigint NOT NULL DEFAULT jobs_next_id(),
    due_at timestamptz NOT NULL DEFAULT now(),
    rung_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    lease_until timestamptz,
    done bigint NOT NULL DEFAULT 0,
    total bigint,
    done_at_start bigint NOT NULL DEFAULT 0,
    fence integer NOT NULL DEFAULT 0,
    session integer NOT NULL DEFAULT 0,
    backoff_s integer NOT NULL,
    time_limit_s integer NOT NULL,
    version smallint NOT NULL,
    state smallint NOT NULL DEFAULT 1,
    wish smallint NOT NULL DEFAULT 0,
    attempt smallint NOT NULL DEFAULT 0,
    most_attempts smallint NOT NULL,
    name varchar(100) NOT NULL,
    queue varchar(40) NOT NULL,
    reason varchar(40) NOT NULL DEFAULT '',
    worker varchar(80) NOT NULL DEFAULT '',
    unique_key varchar(200) NOT NULL DEFAULT '',
    point varchar(80) NOT NULL DEFAULT '',
    error text NOT NULL DEFAULT '',
    arguments jsonb NOT NULL,
    progress jsonb NOT NULL DEFAULT '{{}}',
    PRIMARY KEY (id),
    CONSTRAINT jobs_job_state CHECK (state BETWEEN 1 AND 7),
    CONSTRAINT jobs_job_lease CHECK ((state = 2) = (lease_until IS NOT NULL)),
    CONSTRAINT jobs_job_ended CHECK ((state >= 5) = (ended_at IS NOT NULL)),
    CONSTRAINT jobs_job_arguments CHECK (pg_column_size(arguments) <= 262144),
    CONSTRAINT jobs_job_limits CHECK (most_attempts > 0 AND backoff_s > 0 AND time_limit_s > 0)
) PARTITION BY RANGE (id);
CREATE INDEX jobs_job_due ON jobs_job (due_at) INCLUDE (queue) WHERE state = 1;
CREATE INDEX jobs_job_running ON jobs_job (lease_until) WHERE state = 2;
CREATE INDEX jobs_job_attention ON jobs_job (state, id) WHERE state IN (3, 4, 6);
CREATE TABLE jobs_job_default PARTITION OF jobs_job DEFAULT WITH (fillfactor = 70);
ALTER SEQUENCE jobs_job_number OWNED BY jobs_job.id;
INSERT INTO jobs_sweeper (id, rung, returned) VALUES (1, 0, 0);
"""
DROP_TABLES = "DROP TABLE jobs_job; DROP FUNCTION jobs_next_id()"

STATES = [
    (1, "queued"),
    (2, "running"),
    (3, "paused"),
    (4, "stranded"),
    (5, "done"),
    (6, "dead"),
    (7, "cancelled"),
]


def make_first_days(apps: Any, schema_editor: Any) -> None:
    from jobs.days import AHEAD_DAYS, making

    today = datetime.now(UTC).date()
    for statement in making(today, AHEAD_DAYS + 1):
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="UniqueKey",
            fields=[
                ("key", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("job_id", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="Tick",
            fields=[
                ("entry", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Sweeper",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("heartbeat_at", models.DateTimeField(null=True)),
                ("rung", models.BigIntegerField(default=0, help_text="Jobs rung again so far.")),
                (
                    "returned",
                    models.BigIntegerField(default=0, help_text="Jobs taken back so far."),
                ),
            ],
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLES, DROP_TABLES)],
            state_operations=[
                migrations.CreateModel(
                    name="Job",
                    options={"verbose_name": "job"},
                    fields=[
                        ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                        ("name", models.CharField(max_length=100)),
                        (
                            "version",
                            models.SmallIntegerField(
                                help_text="Of the declaration that wrote the arguments."
                            ),
                        ),
                        ("queue", models.CharField(max_length=40)),
                        ("arguments", models.JSONField()),
                        ("state", models.SmallIntegerField(choices=STATES)),
                        (
                            "wish",
                            models.SmallIntegerField(
                                default=0, help_text="1 pause, 2 cancel: at the next step."
                            ),
                        ),
                        ("reason", models.CharField(blank=True, max_length=40)),
                        ("error", models.TextField(blank=True)),
                        ("attempt", models.SmallIntegerField(default=0)),
                        ("most_attempts", models.SmallIntegerField()),
                        ("backoff_s", models.IntegerField()),
                        ("time_limit_s", models.IntegerField()),
                        ("due_at", models.DateTimeField()),
                        (
                            "rung_at",
                            models.DateTimeField(
                                help_text="When a worker was last told of it.", null=True
                            ),
                        ),
                        ("started_at", models.DateTimeField(null=True)),
                        ("ended_at", models.DateTimeField(null=True)),
                        ("lease_until", models.DateTimeField(null=True)),
                        (
                            "fence",
                            models.IntegerField(
                                default=0, help_text="Grows with each claim; checked at the end."
                            ),
                        ),
                        (
                            "session",
                            models.IntegerField(
                                default=0, help_text="PostgreSQL's number of the session."
                            ),
                        ),
                        (
                            "worker",
                            models.CharField(
                                blank=True, help_text="Host and process.", max_length=80
                            ),
                        ),
                        ("unique_key", models.CharField(blank=True, max_length=200)),
                        (
                            "point",
                            models.CharField(
                                blank=True, help_text="Last recovery point.", max_length=80
                            ),
                        ),
                        (
                            "progress",
                            models.JSONField(
                                default=dict, help_text="What the steps so far left behind."
                            ),
                        ),
                        ("done", models.BigIntegerField(default=0)),
                        ("total", models.BigIntegerField(null=True)),
                        (
                            "done_at_start",
                            models.BigIntegerField(
                                default=0, help_text="`done` when it was claimed."
                            ),
                        ),
                    ],
                ),
            ],
        ),
        migrations.RunPython(make_first_days, migrations.RunPython.noop, elidable=False),
    ]
