"""Jobs and calls know their user; those that are there already are given theirs.

User by user, each in a transaction of its own, so that nobody waits long. It may take minutes per million calls; what
is written meanwhile by the release before stays without a user.
"""

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
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

#: What no path could name becomes what `tenancy.queries.users.stored_user_id` makes of it.
RENAME = """
UPDATE jobs_job SET user_id = '~' || encode(sha256(convert_to(user_id, 'UTF8')), 'hex')
WHERE user_id <> '' AND user_id !~ '^~[0-9a-f]{64}$'
    AND (user_id ~ '[/[:cntrl:]]' OR user_id IN ('.', '..') OR user_id LIKE '~%')
"""

USERS = """
INSERT INTO tenancy_teamuser (team_id, user_id, status, first_seen_at, last_seen_at)
SELECT team_id, user_id, 'active', min(created_at), max(created_at) FROM jobs_job WHERE user_id <> ''
GROUP BY team_id, user_id ORDER BY min(created_at)
ON CONFLICT DO NOTHING
"""

THEIR_JOBS = """
DO $$
DECLARE
    who record;
BEGIN
    FOR who IN SELECT id, team_id, user_id FROM tenancy_teamuser ORDER BY id LOOP
        UPDATE jobs_job SET team_user_id = who.id
        WHERE user_id = who.user_id AND team_id = who.team_id AND team_user_id IS NULL;
        UPDATE jobs_call c SET team_user_id = who.id
        FROM jobs_job j
        WHERE j.user_id = who.user_id AND j.team_id = who.team_id AND c.job_id = j.id AND c.team_user_id IS NULL;
        COMMIT;
    END LOOP;
END $$
"""


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
    #: Indexes are made beside what runs, and users are given their jobs in many transactions.
    atomic = False

    dependencies = [("jobs", "0012_budget_rules"), ("tenancy", "0016_team_users")]

    operations = [
        migrations.AddField(model_name="job", name="team_user", field=_reference()),
        migrations.AddField(model_name="call", name="team_user", field=_reference()),
        migrations.RunSQL(MARKS, UNMARKS),
        migrations.RunSQL([RENAME, USERS, THEIR_JOBS], migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(
                condition=models.Q(("team_user", None), _negated=True),
                fields=["team_user", "created_at", "id"],
                name="jobs_of_team_user",
            ),
        ),
        AddIndexConcurrently(
            model_name="call",
            index=models.Index(
                condition=models.Q(("team_user", None), _negated=True),
                fields=["team_user", "created_at", "id"],
                name="calls_of_team_user",
            ),
        ),
    ]
