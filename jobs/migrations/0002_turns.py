"""Since when a long job goes on, turn after turn: its rate is counted from there."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0001_initial")]

    operations = [
        migrations.AddField(
            "job",
            "began_at",
            models.DateTimeField(
                null=True, help_text="Since when it goes on, turn after turn, without a break."
            ),
        ),
        migrations.AlterField(
            "job",
            "done_at_start",
            models.BigIntegerField(default=0, help_text="`done` when it began."),
        ),
    ]
