"""Whether a team's direct calls are jobs of one call."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0011_console_cache_table")]

    operations = [
        migrations.AddField(
            model_name="team",
            name="direct_calls_are_jobs",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Every OpenAI-compatible call without a job is one of its own, for one credit.",
            ),
        ),
    ]
