"""A call's row is updated twice within moments, and a job's too: let that touch as few indexes as may be.

PostgreSQL updates a row in place of its page, and no index ("heap-only"), where no indexed column changes, those in an
index's condition included, and where the page has room. So the conditions no longer name the state, new pages keep a
quarter free, and indexes go of which another begins with the same columns.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Changes indexes only."""

    dependencies = [
        ("jobs", "0003_call_processes"),
        ("modelgroups", "0001_initial"),
        ("tenancy", "0003_call_keys"),
    ]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE jobs_call SET (fillfactor = 75); ALTER TABLE jobs_job SET (fillfactor = 75)",
            "ALTER TABLE jobs_call RESET (fillfactor); ALTER TABLE jobs_job RESET (fillfactor)",
        ),
        migrations.RemoveIndex(
            model_name="call",
            name="open_calls",
        ),
        migrations.RemoveIndex(
            model_name="job",
            name="open_jobs_by_expiry",
        ),
        migrations.RemoveIndex(
            model_name="job",
            name="open_jobs_that_end_with_a_call",
        ),
        migrations.AlterField(
            model_name="attempt",
            name="call",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="attempts", to="jobs.call"
            ),
        ),
        migrations.AlterField(
            model_name="job",
            name="team",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="jobs", to="tenancy.team"
            ),
        ),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(condition=models.Q(("ended_at", None)), fields=["team"], name="open_calls"),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("ended_at", None)), fields=["expires_at"], name="open_jobs_by_expiry"
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("ended_at", None), ("ends_with_call", True)),
                fields=["created_at"],
                name="open_jobs_that_end_with_a_call",
            ),
        ),
    ]
