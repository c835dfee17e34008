"""The ledger's invariants, asked of the database in plain SQL. Each query finds what breaks its rule."""

from tests.support.stack import Stack

RULES = {
    "a balance is the sum of its entries": """
        SELECT a.team_id FROM billing_creditaccount a LEFT JOIN billing_ledgerentry e ON e.account_id = a.team_id
        GROUP BY a.team_id HAVING a.allocated - a.used <> COALESCE(SUM(e.amount), 0)
    """,
    "what is held is the sum of the open holds": """
        SELECT a.team_id FROM billing_creditaccount a
        LEFT JOIN billing_credithold h ON h.account_id = a.team_id AND h.state = 'held'
        GROUP BY a.team_id HAVING a.held <> COALESCE(SUM(h.amount), 0)
    """,
    "sequences have no gap": """
        SELECT a.team_id FROM billing_creditaccount a LEFT JOIN billing_ledgerentry e ON e.account_id = a.team_id
        GROUP BY a.team_id
        HAVING COUNT(e.id) <> a.last_sequence OR COALESCE(MAX(e.sequence), 0) <> a.last_sequence
            OR COUNT(DISTINCT e.sequence) <> COUNT(e.id)
    """,
    "an entry's balance_after is the sum up to it": """
        SELECT id FROM (
            SELECT id, balance_after, SUM(amount) OVER (PARTITION BY account_id ORDER BY sequence) AS sum
            FROM billing_ledgerentry
        ) entries WHERE balance_after <> sum
    """,
    "no account is overdrawn": "SELECT team_id FROM billing_creditaccount WHERE held > allocated - used OR held < 0",
    "a deduction is a captured hold, and the reverse": """
        SELECT COALESCE(h.id, e.hold_id) FROM (SELECT * FROM billing_credithold WHERE state = 'captured') h
        FULL JOIN (SELECT * FROM billing_ledgerentry WHERE kind = 'deduction') e ON e.hold_id = h.id
        WHERE h.id IS NULL OR e.hold_id IS NULL OR h.amount <> -e.amount
    """,
    "an open job has an open hold, and no other has": """
        SELECT j.id FROM jobs_job j LEFT JOIN billing_credithold h ON h.job_id = j.id
        WHERE h.id IS NULL OR (h.state = 'held') <> (j.status IN ('pending', 'in_progress'))
    """,
    "what a user has taken of his limit is what his jobs of the month hold or were charged": """
        SELECT l.id FROM tenancy_userlimit l
        LEFT JOIN jobs_job j ON j.team_user_id = l.user_id
            AND date_trunc('month', j.created_at AT TIME ZONE 'UTC') = l.month
        LEFT JOIN billing_credithold h ON h.job_id = j.id AND h.state IN ('held', 'captured')
        WHERE l.kind = 'credits' AND l.month IS NOT NULL
        GROUP BY l.id HAVING l.taken <> COALESCE(SUM(h.amount), 0) OR l.taken > l.amount
    """,
    "what a user's direct calls have cost and may cost is what is taken and reserved of his limit": """
        SELECT l.id FROM tenancy_userlimit l
        LEFT JOIN jobs_call c ON c.team_user_id = l.user_id AND c.job_id IS NULL
            AND date_trunc('month', c.created_at AT TIME ZONE 'UTC') = l.month
        WHERE l.kind = 'direct_cost' AND l.month IS NOT NULL
        GROUP BY l.id
        HAVING l.taken <> COALESCE(SUM(c.cost_usd), 0)
            OR l.reserved <> COALESCE(SUM(c.reserved_usd) FILTER (WHERE c.ended_at IS NULL), 0)
    """,
    "a budget is what its team's calls have cost and may cost": """
        SELECT b.team_id FROM billing_teambudget b LEFT JOIN jobs_call c ON c.team_id = b.team_id
        GROUP BY b.team_id
        HAVING b.spent_usd <> COALESCE(SUM(c.cost_usd), 0)
            OR b.reserved_usd <> COALESCE(SUM(c.reserved_usd) FILTER (WHERE c.ended_at IS NULL), 0)
    """,
}


def assert_ledger_is_sound(stack: Stack) -> None:
    assert [rule for rule, sql in RULES.items() if stack.query(sql)] == []
