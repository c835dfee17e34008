"""A team's budget follows from its calls: their cost is spent, and the estimates of those that are open are reserved.

By triggers, so that whatever ends a call (a worker, the sweeper, a withdrawal, somebody's UPDATE) gives its
reservation back in the same transaction. They run once per statement, after it, and take the budgets in the order of
their teams, so that two statements about many teams do not deadlock.
"""

from django.db import migrations

_OPEN = "CASE WHEN ended_at IS NULL THEN reserved_usd ELSE 0 END"
_NEW = f"SELECT team_id, {_OPEN} AS reserved_usd, cost_usd AS spent_usd FROM after"  # noqa: S608 (our own constants)
_OLD = f"SELECT team_id, -{_OPEN}, -cost_usd FROM before"  # noqa: S608 (as above)


def _function(name: str, *changes: str) -> str:
    return f"""
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moved record;
BEGIN
    FOR moved IN
        SELECT team_id, sum(reserved_usd) AS reserved_usd, sum(spent_usd) AS spent_usd
        FROM ({" UNION ALL ".join(changes)}) AS changes (team_id, reserved_usd, spent_usd)
        GROUP BY team_id HAVING sum(reserved_usd) <> 0 OR sum(spent_usd) <> 0
        ORDER BY team_id
    LOOP
        UPDATE billing_teambudget
        SET reserved_usd = reserved_usd + moved.reserved_usd, spent_usd = spent_usd + moved.spent_usd
        WHERE team_id = moved.team_id;
    END LOOP;
    RETURN NULL;
END $$;
"""  # noqa: S608 (as above)


RULES = (
    _function("jobs_budget_new_calls", _NEW)
    + _function("jobs_budget_changed_calls", _NEW, _OLD)
    + _function("jobs_budget_deleted_calls", _OLD)
    + """
CREATE TRIGGER budget_new_calls AFTER INSERT ON jobs_call
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION jobs_budget_new_calls();
CREATE TRIGGER budget_changed_calls AFTER UPDATE ON jobs_call
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT
    EXECUTE FUNCTION jobs_budget_changed_calls();
CREATE TRIGGER budget_deleted_calls AFTER DELETE ON jobs_call
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION jobs_budget_deleted_calls();
"""
)

#: What was spent before there were budgets. No call is written meanwhile: the triggers above lock the table.
SPENT = """
ALTER TABLE billing_teambudget DISABLE TRIGGER guard_budget;
UPDATE billing_teambudget b SET spent_usd = c.cost_usd
FROM (SELECT team_id, sum(cost_usd) AS cost_usd FROM jobs_call GROUP BY team_id) AS c
WHERE c.team_id = b.team_id;
ALTER TABLE billing_teambudget ENABLE TRIGGER guard_budget;
"""

UNDO = """
DROP TRIGGER budget_deleted_calls ON jobs_call;
DROP TRIGGER budget_changed_calls ON jobs_call;
DROP TRIGGER budget_new_calls ON jobs_call;
DROP FUNCTION jobs_budget_deleted_calls, jobs_budget_changed_calls, jobs_budget_new_calls;
"""


class Migration(migrations.Migration):
    """Creates the triggers, and counts what has been spent so far."""

    dependencies = [("jobs", "0011_direct_calls"), ("billing", "0017_budget_rules")]

    operations = [migrations.RunSQL([RULES, SPENT], UNDO)]
