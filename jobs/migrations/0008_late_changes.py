"""Marks for days that are over and yet change: a job completed the day after, a late cost, a corrected row.

The conditions are all that the hot path has of them: what is written on its own day, as nearly everything is, calls no
function and writes no mark. The day is that of PostgreSQL's clock when the row is written.

What is there already is marked as a whole, so that the first rounds of the beat roll it up.
"""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION jobs_mark_late_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed jsonb := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
BEGIN
    INSERT INTO jobs_latechange (day, origin)
    VALUES (((changed ->> TG_ARGV[0])::timestamptz AT TIME ZONE 'UTC')::date, TG_TABLE_NAME);
    RETURN NULL;
END $$;
"""

#: Table and the column that says which day a row belongs to.
TABLES = {
    "jobs_job": "created_at",
    "jobs_call": "created_at",
    "jobs_attempt": "started_at",
    "billing_ledgerentry": "created_at",
}


def trigger(name: str, events: str, table: str, row: str) -> str:
    """A trigger for rows of earlier days."""
    column = TABLES[table]
    return f"""
        CREATE TRIGGER {name} AFTER {events} ON {table}
            FOR EACH ROW WHEN ({row}.{column} < date_trunc('day', clock_timestamp(), 'UTC'))
            EXECUTE FUNCTION jobs_mark_late_change('{column}');
    """


TRIGGERS = "".join(
    trigger("mark_late_change", "INSERT OR UPDATE", table, "NEW")
    + trigger("mark_late_deletion", "DELETE", table, "OLD")
    for table in TABLES
)
UNDO = "".join(
    f"DROP TRIGGER mark_late_deletion ON {table}; DROP TRIGGER mark_late_change ON {table};" for table in TABLES
)

MARK_WHAT_IS_THERE = """
INSERT INTO jobs_latechange (day, origin)
SELECT generate_series(min(day), (clock_timestamp() AT TIME ZONE 'UTC')::date, interval '1 day')::date, 'migration'
FROM (
    SELECT (min(created_at) AT TIME ZONE 'UTC')::date AS day FROM jobs_job
    UNION ALL SELECT (min(created_at) AT TIME ZONE 'UTC')::date FROM billing_ledgerentry
) AS first;
"""


class Migration(migrations.Migration):
    """Creates the triggers, then marks: whatever was being written has committed by then, for they lock the tables."""

    dependencies = [("jobs", "0007_rollups"), ("billing", "0011_proxy_marks")]

    operations = [
        migrations.RunSQL(FUNCTION + TRIGGERS + MARK_WHAT_IS_THERE, UNDO + "DROP FUNCTION jobs_mark_late_change;"),
    ]
