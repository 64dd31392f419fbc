"""Series, sealed codes, imports and reveals: docs/decisions/0008-sealed-codes.md says why so."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

GUARDS = """
CREATE SEQUENCE rewards_reveal_id_seq OWNED BY rewards_reveal.id;

-- Short enough for a code of 128 characters, long enough to hold nonce and tag.
ALTER TABLE rewards_vouchercode ADD CONSTRAINT rewards_code_sealed
    CHECK (octet_length(sealed) BETWEEN 37 AND 600);

CREATE TRIGGER rewards_series_kept BEFORE DELETE ON rewards_series
    FOR EACH ROW EXECUTE FUNCTION edge_refuse_change();
CREATE TRIGGER rewards_codeimport_kept BEFORE DELETE ON rewards_codeimport
    FOR EACH ROW EXECUTE FUNCTION edge_refuse_change();
CREATE TRIGGER rewards_vouchercode_kept BEFORE DELETE ON rewards_vouchercode
    FOR EACH ROW EXECUTE FUNCTION edge_refuse_change();
CREATE TRIGGER rewards_reveal_append_only BEFORE UPDATE OR DELETE ON rewards_reveal
    FOR EACH ROW EXECUTE FUNCTION edge_refuse_change();
-- A code that was given or taken out of use never becomes available again.
CREATE TRIGGER rewards_vouchercode_spent BEFORE UPDATE OF state ON rewards_vouchercode
    FOR EACH ROW WHEN (OLD.state <> 0) EXECUTE FUNCTION edge_refuse_change();
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("edge", "0001_initial"),
        ("wallet", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="CodeImport",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("file_name", models.CharField(max_length=200)),
                ("sha256", models.BinaryField(max_length=32)),
                ("size_bytes", models.BigIntegerField()),
                ("delimiter", models.CharField(blank=True, max_length=1)),
                ("has_bom", models.BooleanField(default=False)),
                (
                    "line_ends",
                    models.CharField(
                        blank=True, help_text="CR, CRLF, LF, or several.", max_length=20
                    ),
                ),
                ("row_count", models.IntegerField()),
                ("code_count", models.IntegerField(help_text="Codes taken in: all rows, or none.")),
                ("fault_count", models.IntegerField()),
                ("warning_count", models.IntegerField()),
                (
                    "counts",
                    models.JSONField(help_text="How often each fault and warning was found."),
                ),
                (
                    "stopped_at_line",
                    models.IntegerField(
                        help_text="Where the file could not be read any further.", null=True
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("imported", "Imported"),
                            ("refused", "Refused"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "transfer_id",
                    models.BigIntegerField(
                        help_text="The transfer that issued the units.", null=True
                    ),
                ),
                ("first_code_id", models.BigIntegerField(null=True)),
                ("last_code_id", models.BigIntegerField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        help_text="Who got the units; nobody: the series' treasury.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "import",
            },
        ),
        migrations.CreateModel(
            name="ImportFault",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("line", models.IntegerField(help_text="Counted from 1; 0 for the whole file.")),
                ("column", models.CharField(blank=True, max_length=40)),
                ("code", models.CharField(max_length=40)),
                ("message", models.CharField(max_length=250)),
                (
                    "code_import",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="faults",
                        to="rewards.codeimport",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Series",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(max_length=120)),
                ("description", models.TextField(blank=True, max_length=2000)),
                ("issuer_name", models.CharField(max_length=120)),
                ("terms", models.TextField(blank=True, max_length=10000)),
                (
                    "face_value_minor",
                    models.BigIntegerField(
                        blank=True,
                        help_text="What one voucher is worth, in minor units.",
                        null=True,
                    ),
                ),
                ("valid_from", models.DateTimeField(blank=True, null=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                (
                    "check_scheme",
                    models.CharField(
                        choices=[
                            ("none", "none"),
                            ("luhn", "luhn"),
                            ("iso7064-37-36", "iso7064-37-36"),
                        ],
                        default="none",
                        help_text="How the issuer's codes carry a check character, if they do.",
                        max_length=20,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("draft", "Draft"), ("issued", "Issued"), ("closed", "Closed")],
                        default="draft",
                        max_length=10,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "asset",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="series",
                        to="wallet.asset",
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "face_value_asset",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        limit_choices_to={"kind": "currency"},
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="wallet.asset",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "series",
            },
        ),
        migrations.AddField(
            model_name="codeimport",
            name="series",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="imports",
                to="rewards.series",
            ),
        ),
        migrations.CreateModel(
            name="VoucherCode",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("expires_at", models.DateTimeField(help_text="The year 9999 stands for never.")),
                (
                    "digest",
                    models.UUIDField(help_text="Keyed digest of series and code, 128 bits."),
                ),
                (
                    "state",
                    models.SmallIntegerField(
                        choices=[(0, "available"), (1, "revealed"), (2, "deactivated")]
                    ),
                ),
                ("sealed", models.BinaryField()),
                (
                    "code_import",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="rewards.codeimport",
                    ),
                ),
                (
                    "series",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="rewards.series",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Reveal",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                (
                    "request",
                    models.UUIDField(
                        help_text="Digest of person, address and Idempotency-Key: once, for ever.",
                        unique=True,
                    ),
                ),
                (
                    "transfer_id",
                    models.BigIntegerField(help_text="The transfer that burnt the unit."),
                ),
                ("at", models.DateTimeField()),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "code",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reveal",
                        to="rewards.vouchercode",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="series",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("face_value_asset__isnull", True), ("face_value_minor__isnull", True)
                    ),
                    models.Q(("face_value_asset__isnull", False), ("face_value_minor__gt", 0)),
                    _connector="OR",
                ),
                name="rewards_series_face_value",
            ),
        ),
        migrations.AddConstraint(
            model_name="series",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("valid_from__isnull", True),
                    ("expires_at__isnull", True),
                    ("expires_at__gt", models.F("valid_from")),
                    _connector="OR",
                ),
                name="rewards_series_validity",
            ),
        ),
        migrations.AddConstraint(
            model_name="codeimport",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "imported")),
                fields=("series", "sha256"),
                name="rewards_codeimport_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="codeimport",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("code_count", 0), ("state", "refused"), ("transfer_id__isnull", True)
                    ),
                    models.Q(
                        ("code_count", models.F("row_count")),
                        ("code_count__gt", 0),
                        ("fault_count", 0),
                    ),
                    _connector="OR",
                ),
                name="rewards_codeimport_whole_or_none",
            ),
        ),
        migrations.AddIndex(
            model_name="vouchercode",
            index=models.Index(
                condition=models.Q(("state", 0)),
                fields=["series", "expires_at", "id"],
                name="rewards_code_next",
            ),
        ),
        migrations.AddConstraint(
            model_name="vouchercode",
            constraint=models.UniqueConstraint(
                fields=("series", "digest"), name="rewards_code_digest"
            ),
        ),
        migrations.AddConstraint(
            model_name="vouchercode",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__range", (0, 2))), name="rewards_code_state"
            ),
        ),
        migrations.AddIndex(
            model_name="reveal",
            index=models.Index(fields=["owner", "-id"], name="rewards_reveal_owner"),
        ),
        migrations.RunSQL(GUARDS, migrations.RunSQL.noop),
    ]
