"""Kinds of series, redemption by partners, generic codes, work in bulk, presents."""

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

GUARDS = """
CREATE TRIGGER rewards_redemption_kept BEFORE DELETE ON rewards_redemption
    FOR EACH ROW EXECUTE FUNCTION edge_refuse_change();
CREATE TRIGGER rewards_voucher_kept BEFORE DELETE ON rewards_voucher
    FOR EACH ROW EXECUTE FUNCTION edge_refuse_change();
CREATE TRIGGER rewards_genericcode_kept BEFORE DELETE ON rewards_genericcode
    FOR EACH ROW EXECUTE FUNCTION edge_refuse_change();
-- What was rolled back, lapsed or reversed stays so; what was confirmed can only be reversed.
CREATE TRIGGER rewards_redemption_ended BEFORE UPDATE OF state ON rewards_redemption
    FOR EACH ROW WHEN (OLD.state >= 2 OR (OLD.state = 1 AND NEW.state <> 4))
    EXECUTE FUNCTION edge_refuse_change();
"""
KINDS = [
    # code, name, side, floor
    ("voucher_cost", "Cost of vouchers", "Expenses", None),
    ("voucher_liability", "Owed for vouchers", "Liabilities", 0),
    ("gift_balance", "Gift balance", "Liabilities", 0),
    ("settlement", "Owed to a partner", "Liabilities", 0),
]


def make_kinds(apps: Any, schema_editor: Any) -> None:
    account_kind = apps.get_model("wallet", "AccountKind")
    for code, name, side, floor in KINDS:
        account_kind.objects.get_or_create(
            code=code, defaults={"name": name, "side": side, "is_owned": False, "floor": floor}
        )


def say_kinds(apps: Any, schema_editor: Any) -> None:
    """Series that name a face value were amounts off, before a series could say what it is."""
    series = apps.get_model("rewards", "Series")
    series.objects.filter(face_value_minor__isnull=False).update(kind="amount")


class Migration(migrations.Migration):
    dependencies = [
        ("rewards", "0001_series_and_sealed_codes"),
        ("wallet", "0005_lots"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="BulkJob",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("generate", "Generate"),
                            ("import", "Import"),
                            ("export", "Export"),
                            ("assign", "Assign"),
                            ("extend", "Extend"),
                            ("deactivate", "Deactivate"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("done", "Done"),
                            ("refused", "Refused"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="open",
                        max_length=10,
                    ),
                ),
                ("parameters", models.JSONField(default=dict)),
                ("report", models.JSONField(default=dict, help_text="What came of it.")),
                ("job_id", models.BigIntegerField(null=True)),
                ("done", models.BigIntegerField(default=0)),
                ("total", models.BigIntegerField(null=True)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("ended_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="ExpirySweep",
            fields=[
                (
                    "series",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="sweep",
                        serialize=False,
                        to="rewards.series",
                    ),
                ),
                ("through", models.DateTimeField()),
                (
                    "code_id",
                    models.BigIntegerField(default=0, help_text="The last one of that moment."),
                ),
                ("broken_minor", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="GenericCode",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("text", models.CharField(max_length=64)),
                ("use_limit", models.BigIntegerField()),
                ("person_limit", models.IntegerField(blank=True, null=True)),
                ("expires_at", models.DateTimeField(help_text="The year 9999 stands for never.")),
                ("is_active", models.BooleanField(default=True)),
                (
                    "is_expired",
                    models.BooleanField(default=False, help_text="What was left has been broken."),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name="Partner",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("code", models.SlugField(max_length=40, unique=True)),
                ("name", models.CharField(max_length=120)),
                ("is_active", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name="Present",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("amount", models.BigIntegerField()),
                ("message", models.CharField(blank=True, max_length=200)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("accepted", "Accepted"),
                            ("declined", "Declined"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="open",
                        max_length=10,
                    ),
                ),
                (
                    "request",
                    models.UUIDField(help_text="Digest of person, address and key.", unique=True),
                ),
                (
                    "hold_id",
                    models.BigIntegerField(help_text="What sets the units aside.", null=True),
                ),
                ("expires_at", models.DateTimeField()),
                ("made_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Redemption",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "request",
                    models.UUIDField(
                        help_text="Digest of partner and key: once, for ever.", unique=True
                    ),
                ),
                ("fingerprint", models.BinaryField(max_length=32)),
                (
                    "state",
                    models.SmallIntegerField(
                        choices=[
                            (0, "reserved"),
                            (1, "confirmed"),
                            (2, "rolled back"),
                            (3, "lapsed"),
                            (4, "reversed"),
                        ],
                        default=0,
                    ),
                ),
                (
                    "is_whole",
                    models.BooleanField(
                        help_text="Takes the whole voucher, not a part of a balance."
                    ),
                ),
                ("value_minor", models.BigIntegerField()),
                (
                    "rest_minor",
                    models.BigIntegerField(default=0, help_text="Of the face value, not used."),
                ),
                ("order_minor", models.BigIntegerField(null=True)),
                ("reserved_until", models.DateTimeField(null=True)),
                ("hold_id", models.BigIntegerField(null=True)),
                (
                    "transfer_id",
                    models.BigIntegerField(
                        help_text="What the partner was credited by.", null=True
                    ),
                ),
                ("rest_transfer_id", models.BigIntegerField(null=True)),
                ("unit_transfer_id", models.BigIntegerField(null=True)),
                ("reversal_id", models.BigIntegerField(null=True)),
                (
                    "reference",
                    models.CharField(blank=True, help_text="The partner's own.", max_length=80),
                ),
                ("made_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="UploadBlock",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField()),
                ("sealed", models.BinaryField()),
            ],
        ),
        migrations.CreateModel(
            name="Voucher",
            fields=[
                (
                    "code",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="voucher",
                        serialize=False,
                        to="rewards.vouchercode",
                    ),
                ),
                (
                    "use",
                    models.SmallIntegerField(
                        choices=[
                            (0, "free"),
                            (1, "reserved"),
                            (2, "used"),
                            (3, "deactivated"),
                            (4, "expired"),
                        ],
                        default=0,
                    ),
                ),
                ("reserved_until", models.DateTimeField(null=True)),
                (
                    "account_id",
                    models.BigIntegerField(help_text="Where a gift balance lies.", null=True),
                ),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="codeimport",
            name="rewards_codeimport_whole_or_none",
        ),
        migrations.RemoveIndex(
            model_name="vouchercode",
            name="rewards_code_next",
        ),
        migrations.AddField(
            model_name="codeimport",
            name="source",
            field=models.CharField(
                choices=[("file", "File"), ("generated", "Generated")],
                default="file",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="series",
            name="code_alphabet",
            field=models.CharField(
                blank=True, default="0123456789ACDEFGHJKMNPRTVWXY", max_length=36
            ),
        ),
        migrations.AddField(
            model_name="series",
            name="code_pattern",
            field=models.CharField(
                blank=True,
                help_text="What all codes of the series look like: ####-####*",
                max_length=64,
            ),
        ),
        migrations.AddField(
            model_name="series",
            name="discount_bps",
            field=models.IntegerField(
                blank=True, help_text="Of a percentage, in hundredths of a percent.", null=True
            ),
        ),
        migrations.AddField(
            model_name="series",
            name="is_personal",
            field=models.BooleanField(
                default=False, help_text="Only who revealed a code may use it."
            ),
        ),
        migrations.AddField(
            model_name="series",
            name="is_redeemed_here",
            field=models.BooleanField(
                default=False,
                help_text="Partners redeem its codes with us, so we owe them the face value.",
            ),
        ),
        migrations.AddField(
            model_name="series",
            name="kind",
            field=models.CharField(
                choices=[
                    ("percentage", "percentage off"),
                    ("amount", "amount off"),
                    ("item", "free item"),
                    ("gift", "gift balance"),
                    ("ticket", "entry ticket"),
                ],
                default="item",
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="codeimport",
            name="state",
            field=models.CharField(
                choices=[
                    ("importing", "Importing"),
                    ("cancelled", "Cancelled"),
                    ("imported", "Imported"),
                    ("refused", "Refused"),
                    ("withdrawn", "Withdrawn"),
                ],
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name="codeimport",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("code_count", 0),
                        ("state__in", ("refused", "importing", "cancelled")),
                        ("transfer_id__isnull", True),
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
        migrations.AddConstraint(
            model_name="series",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("discount_bps__range", (1, 10000)), ("kind", "percentage")),
                    models.Q(
                        models.Q(("kind", "percentage"), _negated=True),
                        ("discount_bps__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="rewards_series_discount",
            ),
        ),
        migrations.AddConstraint(
            model_name="series",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "gift"), _negated=True),
                    ("face_value_minor__isnull", False),
                    _connector="OR",
                ),
                name="rewards_series_gift_value",
            ),
        ),
        migrations.AddField(
            model_name="bulkjob",
            name="created_by",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="bulkjob",
            name="series",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="bulk_jobs",
                to="rewards.series",
            ),
        ),
        migrations.AddField(
            model_name="vouchercode",
            name="export",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                help_text="The file that it went out in, to nobody in particular.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="rewards.bulkjob",
            ),
        ),
        migrations.AddIndex(
            model_name="vouchercode",
            index=models.Index(
                fields=["series", "state", "expires_at", "id"], name="rewards_code_next"
            ),
        ),
        migrations.AddIndex(
            model_name="vouchercode",
            index=models.Index(
                condition=models.Q(("export__isnull", False)),
                fields=["export", "id"],
                name="rewards_code_export",
            ),
        ),
        migrations.AddField(
            model_name="genericcode",
            name="created_by",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="genericcode",
            name="series",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, to="rewards.series"
            ),
        ),
        migrations.AddField(
            model_name="partner",
            name="series",
            field=models.ManyToManyField(blank=True, related_name="partners", to="rewards.series"),
        ),
        migrations.AddField(
            model_name="partner",
            name="staff",
            field=models.ManyToManyField(
                blank=True, related_name="redeems_for", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="present",
            name="giver",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="present",
            name="receiver",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="present",
            name="series",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, to="rewards.series"
            ),
        ),
        migrations.AddField(
            model_name="redemption",
            name="code",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                to="rewards.vouchercode",
            ),
        ),
        migrations.AddField(
            model_name="redemption",
            name="customer",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="redemption",
            name="generic",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                to="rewards.genericcode",
            ),
        ),
        migrations.AddField(
            model_name="redemption",
            name="made_by",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="redemption",
            name="partner",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, to="rewards.partner"
            ),
        ),
        migrations.AddField(
            model_name="redemption",
            name="series",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, to="rewards.series"
            ),
        ),
        migrations.AddField(
            model_name="uploadblock",
            name="bulk_job",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="blocks",
                to="rewards.bulkjob",
            ),
        ),
        migrations.AddConstraint(
            model_name="voucher",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("use", 1), _negated=True),
                    ("reserved_until__isnull", False),
                    _connector="OR",
                ),
                name="rewards_voucher_reserved",
            ),
        ),
        migrations.AddConstraint(
            model_name="genericcode",
            constraint=models.UniqueConstraint(
                fields=("text", "series"), name="rewards_genericcode_text"
            ),
        ),
        migrations.AddConstraint(
            model_name="genericcode",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("use_limit__gt", 0),
                    models.Q(
                        ("person_limit__isnull", True), ("person_limit__gt", 0), _connector="OR"
                    ),
                ),
                name="rewards_genericcode_limits",
            ),
        ),
        migrations.AddIndex(
            model_name="present",
            index=models.Index(fields=["receiver", "-id"], name="rewards_present_receiver"),
        ),
        migrations.AddIndex(
            model_name="present",
            index=models.Index(fields=["giver", "-id"], name="rewards_present_giver"),
        ),
        migrations.AddConstraint(
            model_name="present",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0)), name="rewards_present_amount"
            ),
        ),
        migrations.AddConstraint(
            model_name="present",
            constraint=models.CheckConstraint(
                condition=models.Q(("giver", models.F("receiver")), _negated=True),
                name="rewards_present_to_another",
            ),
        ),
        migrations.AddIndex(
            model_name="redemption",
            index=models.Index(fields=["partner", "-id"], name="rewards_redemption_partner"),
        ),
        migrations.AddIndex(
            model_name="redemption",
            index=models.Index(
                condition=models.Q(("code__isnull", False)),
                fields=["code", "id"],
                name="rewards_redemption_code",
            ),
        ),
        migrations.AddIndex(
            model_name="redemption",
            index=models.Index(
                condition=models.Q(("customer__isnull", False)),
                fields=["customer", "-id"],
                name="rewards_redemption_person",
            ),
        ),
        migrations.AddIndex(
            model_name="redemption",
            index=models.Index(
                condition=models.Q(("generic__isnull", False), ("state__in", (0, 1))),
                fields=["generic", "customer"],
                name="rewards_redemption_generic",
            ),
        ),
        migrations.AddIndex(
            model_name="redemption",
            index=models.Index(
                condition=models.Q(("state", 0)),
                fields=["reserved_until"],
                name="rewards_redemption_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="redemption",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("code__isnull", False), ("generic__isnull", True)),
                    models.Q(("code__isnull", True), ("generic__isnull", False)),
                    _connector="OR",
                ),
                name="rewards_redemption_of_one",
            ),
        ),
        migrations.AddConstraint(
            model_name="redemption",
            constraint=models.CheckConstraint(
                condition=models.Q(("rest_minor__gte", 0), ("value_minor__gte", 0)),
                name="rewards_redemption_amounts",
            ),
        ),
        migrations.AddConstraint(
            model_name="redemption",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at__isnull", True), ("state", 0)),
                    models.Q(models.Q(("state", 0), _negated=True), ("ended_at__isnull", False)),
                    _connector="OR",
                ),
                name="rewards_redemption_ended",
            ),
        ),
        migrations.AddConstraint(
            model_name="redemption",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_whole", True), ("state__in", (0, 1))),
                fields=("code",),
                name="rewards_redemption_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="uploadblock",
            constraint=models.UniqueConstraint(
                fields=("bulk_job", "number"), name="rewards_uploadblock_once"
            ),
        ),
        migrations.RunSQL(GUARDS, migrations.RunSQL.noop),
        migrations.RunPython(make_kinds, migrations.RunPython.noop),
        migrations.RunPython(say_kinds, migrations.RunPython.noop),
    ]
