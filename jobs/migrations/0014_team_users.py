"""Jobs and calls know their user. Those that are there already are given theirs later (jobs.services.old_users)."""

import django.db.models.deletion
from django.db import migrations, models

#: Erasing a user rewrites old jobs, and changes nothing that is summed up: only the columns that are make a day late.
#: `WHEN` is as it was (migration 0008).
_WHEN = "WHEN (NEW.created_at < date_trunc('day', clock_timestamp(), 'UTC'))"
_SUMMED_UP = {
    "jobs_job": "team_id, job_type, status, created_at, started_at, ended_at",
    "jobs_call": (
        "job_id, team_id, model_group, state, cause, is_late, prompt_tokens, completion_tokens, cost_usd, latency_ms,"
        " created_at, ended_at"
    ),
}


def _trigger(table: str, columns: str) -> str:
    return f"""
        DROP TRIGGER mark_late_change ON {table};
        CREATE TRIGGER mark_late_change AFTER INSERT OR UPDATE{columns} ON {table}
            FOR EACH ROW {_WHEN} EXECUTE FUNCTION jobs_mark_late_change('created_at');
    """


MARKS = "".join(_trigger(table, f" OF {columns}") for table, columns in _SUMMED_UP.items())
UNMARKS = "".join(_trigger(table, "") for table in _SUMMED_UP)


def _reference() -> models.ForeignKey:
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        null=True,
        on_delete=django.db.models.deletion.DO_NOTHING,
        related_name="+",
        to="tenancy.teamuser",
    )


class Migration(migrations.Migration):
    dependencies = [("jobs", "0012_budget_rules"), ("tenancy", "0016_team_users")]

    operations = [
        migrations.AddField(model_name="job", name="team_user", field=_reference()),
        migrations.AddField(model_name="call", name="team_user", field=_reference()),
        migrations.RunSQL(MARKS, UNMARKS),
    ]
