"""What must hold of calls and of what clients were told, whatever has died. tests/live has the ledger's."""

from tests.live.ledger_rules import RULES as LEDGER_RULES
from tests.support.stack import Stack

#: True at every moment, also in the middle of everything.
CALL_RULES = {
    "a call that succeeded was answered by its last attempt": """
        SELECT c.id FROM jobs_call c WHERE c.state = 'succeeded' AND 'succeeded' IS DISTINCT FROM
            (SELECT a.outcome FROM jobs_attempt a WHERE a.call_id = c.id ORDER BY a.sequence DESC LIMIT 1)
    """,
    "a call costs what its attempts cost, and each is there once": """
        SELECT c.id FROM jobs_call c LEFT JOIN jobs_attempt a ON a.call_id = c.id
        GROUP BY c.id
        HAVING c.cost_usd <> COALESCE(SUM(a.cost_usd), 0)
            OR c.completion_tokens <> COALESCE(SUM(a.completion_tokens), 0)
            OR COUNT(a.id) <> COUNT(DISTINCT a.sequence)
    """,
    "a call has a cause exactly if it ended without success": """
        SELECT id FROM jobs_call
        WHERE (cause <> '') <> (state IN ('failed', 'interrupted', 'cancelled')) OR (cause <> '') <> (error <> '')
    """,
    # Heartbeat, sweep and a worker's start take some fifteen seconds; but here a call may be lost more than once, and
    # each start take twenty on a busy machine.
    "no call is left open for long": """
        SELECT id FROM jobs_call
        WHERE state IN ('queued', 'running') AND created_at < now() - make_interval(secs => 90)
    """,
    "no call is retried twice": """
        SELECT retry_of_id FROM jobs_call WHERE retry_of_id IS NOT NULL GROUP BY retry_of_id HAVING COUNT(*) > 1
    """,
    "a job is charged exactly if it completed without an unsuccessful call that counts": """
        SELECT j.id FROM jobs_job j JOIN billing_credithold h ON h.job_id = j.id
        WHERE j.status = 'completed' AND (h.state = 'captured') <> NOT EXISTS (
            SELECT FROM jobs_call c
            WHERE c.job_id = j.id AND c.state IN ('failed', 'interrupted') AND NOT c.is_late
                AND NOT EXISTS (SELECT FROM jobs_call r WHERE r.retry_of_id = c.id)
        )
    """,
    "a job that failed costs nothing": """
        SELECT j.id FROM jobs_job j JOIN billing_credithold h ON h.job_id = j.id
        WHERE j.status = 'failed' AND h.state = 'captured'
    """,
}

#: True when nothing is under way.
REST_RULES = {
    "every call has ended": "SELECT id, state FROM jobs_call WHERE state IN ('queued', 'running')",
    "every job has ended": "SELECT id FROM jobs_job WHERE status IN ('pending', 'in_progress')",
    "no credit is held": "SELECT team_id FROM billing_creditaccount WHERE held <> 0",
    "no key is in flight": "SELECT id FROM tenancy_idempotencyrecord WHERE reply IS NULL",
}


def broken(stack: Stack, *, at_rest: bool = False) -> dict[str, int]:
    """The rules that do not hold, and how often. One statement each, so a moment's truth each."""
    rules = LEDGER_RULES | CALL_RULES | (REST_RULES if at_rest else {})
    found = {rule: len(stack.query(sql)) for rule, sql in rules.items()}
    return {rule: count for rule, count in found.items() if count}
