"""What has to hold between jobs and the ledger. billing.queries.books has the rules of the ledger itself."""

from billing.queries.books import Rule

JOB_RULES = (
    Rule(
        "an open job has an open hold, and no other has",
        """
        SELECT COALESCE('job ' || j.id, 'hold ' || h.id)
        FROM jobs_job j FULL JOIN billing_credithold h ON h.job_id = j.id
        WHERE j.id IS NULL OR h.id IS NULL OR h.account_id <> j.team_id
            OR (h.state = 'held') <> (j.status IN ('pending', 'in_progress'))
        """,
    ),
    Rule(
        "a job is charged once if it completed without a failed call, else not at all",
        """
        SELECT 'job ' || j.id
        FROM jobs_job j
        LEFT JOIN (
            SELECT job_id, COUNT(*) AS charges FROM billing_ledgerentry WHERE kind = 'deduction' GROUP BY job_id
        ) e ON e.job_id = j.id
        LEFT JOIN (
            SELECT DISTINCT c.job_id FROM jobs_call c
            WHERE c.state IN ('failed', 'interrupted') AND NOT c.is_late
                AND NOT EXISTS (SELECT FROM jobs_call r WHERE r.retry_of_id = c.id)
        ) f ON f.job_id = j.id
        WHERE COALESCE(e.charges, 0) <> CASE WHEN j.status = 'completed' AND f.job_id IS NULL THEN 1 ELSE 0 END
        """,
    ),
    Rule(
        "what a job spent is what its calls cost, and a call's cost that of its attempts",
        """
        SELECT 'call ' || c.id
        FROM jobs_call c
        LEFT JOIN (
            SELECT call_id, SUM(cost_usd) AS cost_usd, SUM(prompt_tokens) AS prompt_tokens,
                   SUM(completion_tokens) AS completion_tokens
            FROM jobs_attempt GROUP BY call_id
        ) a ON a.call_id = c.id
        WHERE (c.cost_usd, c.prompt_tokens, c.completion_tokens) IS DISTINCT FROM
              (COALESCE(a.cost_usd, 0), COALESCE(a.prompt_tokens, 0), COALESCE(a.completion_tokens, 0))
        """,
    ),
    Rule(
        "what a team has spent is what its calls cost, and reserved is what its open calls were estimated at",
        """
        SELECT 'budget of team ' || COALESCE(b.team_id, c.team_id)
        FROM billing_teambudget b
        FULL JOIN (
            SELECT team_id, SUM(cost_usd) AS spent_usd,
                   SUM(CASE WHEN ended_at IS NULL THEN reserved_usd ELSE 0 END) AS reserved_usd
            FROM jobs_call GROUP BY team_id
        ) c ON c.team_id = b.team_id
        WHERE (COALESCE(b.spent_usd, 0), COALESCE(b.reserved_usd, 0)) IS DISTINCT FROM
              (COALESCE(c.spent_usd, 0), COALESCE(c.reserved_usd, 0))
        """,
    ),
)
