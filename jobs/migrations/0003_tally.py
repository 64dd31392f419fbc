"""What has ended, counted for metrics; and the index by which it is found."""

from django.db import migrations, models

INDEX = "CREATE INDEX jobs_job_ended ON jobs_job (ended_at) WHERE state >= 5"
DROP = "DROP INDEX jobs_job_ended"


class Migration(migrations.Migration):
    dependencies = [("jobs", "0002_turns")]

    operations = [
        migrations.RunSQL(INDEX, DROP),
        migrations.CreateModel(
            name="Tally",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("state", models.SmallIntegerField()),
                (
                    "wait_step",
                    models.SmallIntegerField(help_text="How long it waited: jobs/tally.py"),
                ),
                (
                    "work_step",
                    models.SmallIntegerField(help_text="How long it took: jobs/tally.py"),
                ),
                ("jobs", models.BigIntegerField()),
                ("attempts", models.BigIntegerField()),
                ("wait_s", models.FloatField()),
                ("work_s", models.FloatField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=["name", "state", "wait_step", "work_step"], name="jobs_tally_once"
                    )
                ]
            },
        ),
        migrations.AddField("sweeper", "tallied_until", models.DateTimeField(null=True)),
    ]
