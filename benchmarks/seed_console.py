"""A big installation's rows, for measuring the console (benchmarks/console.py).

At full size: 1,000,000 jobs over 90 days, 3,000,000 calls with 3,150,000 attempts, 2,000,000 ledger entries, of 500
teams in 50 organizations, with 100,000 users. The ledger's triggers are off meanwhile (session_replication_role), as
are foreign keys: entries are numbered and added up here by window functions, and digests are empty, so verify_ledger
would complain.
For a migrated, empty database that nobody needs. Some teams do much more than others, as in life.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

DAYS = 90
TEAMS, ORGANIZATIONS, USERS_PER_TEAM = 500, 50, 200


@dataclass(frozen=True)
class Size:
    """Rows in each of the big tables."""

    jobs: int = 1_000_000
    calls_per_job: int = 3
    entries: int = 2_000_000

    def scaled(self, share: float) -> "Size":
        """A smaller one."""
        return Size(int(self.jobs * share), self.calls_per_job, int(self.entries * share))


TENANTS = """
    INSERT INTO tenancy_organization (organization_id, name, status, metadata, created_at, updated_at)
    SELECT 'org-' || n, 'Customer ' || n, 'active', '{}', now() - %(days)s * interval '1 day', now()
    FROM generate_series(1, %(organizations)s) n;

    INSERT INTO tenancy_team (id, organization_id, team_id, team_alias, status, metadata, created_at, updated_at)
    OVERRIDING SYSTEM VALUE
    SELECT n, o.id, 'team-' || n, 'Team ' || n, 'active', '{}', now() - %(days)s * interval '1 day', now()
    FROM generate_series(1, %(teams)s) n
    JOIN (SELECT id, row_number() OVER (ORDER BY id) AS number FROM tenancy_organization) o
        ON o.number = 1 + n %% %(organizations)s;

    INSERT INTO tenancy_virtualkey (id, team_id, name, key_hash, last_four, created_at)
    SELECT gen_random_uuid(), id, '', sha256(team_id::bytea), 'abcd', created_at FROM tenancy_team;

    INSERT INTO tenancy_teamuser (id, team_id, user_id, status, first_seen_at, last_seen_at)
    OVERRIDING SYSTEM VALUE
    SELECT t.id * %(users)s + n, t.id, 'user-' || n, 'active', t.created_at, now()
    FROM tenancy_team t, generate_series(0, %(users)s - 1) n ORDER BY 1;

    INSERT INTO modelgroups_modelgroup (id, group_name, display_name, description, status, metadata, created_at,
                                        updated_at)
    SELECT gen_random_uuid(), name, name, '', 'active', '{}', now(), now()
    FROM unnest(ARRAY['ChatAgent', 'ParseAgent', 'RankAgent']) name;

    INSERT INTO modelgroups_groupassignment (team_id, group_id, position)
    SELECT t.id, g.id, 0 FROM tenancy_team t, modelgroups_modelgroup g;
"""
JOBS = """
    INSERT INTO jobs_job (id, team_id, virtual_key_id, user_id, team_user_id, job_type, status, metadata, error_message,
                          created_at, started_at, ended_at, expires_at, ends_with_call)
    SELECT gen_random_uuid(), drawn.team, k.id, 'user-' || number, drawn.team * %(users)s + number,
        (ARRAY['parse_resume', 'chat', 'rank', 'summarize', 'translate', 'extract'])
            [1 + floor(6 * random() ^ 1.5)::int],
        status, '{"source": "seeded", "document": "a document of some length"}',
        CASE status WHEN 'failed' THEN 'it went wrong' ELSE '' END, moment, moment,
        CASE WHEN status IN ('completed', 'failed') THEN moment + random() * interval '5 minutes' END,
        now() + interval '1 day', false
    FROM (
        SELECT 1 + floor(%(teams)s * random() ^ 2)::int AS team, floor(%(users)s * random())::int AS number,
            now() - %(days)s * interval '1 day' * (1 - n / %(jobs)s::float8) AS moment,
            CASE WHEN n > %(jobs)s - 500 AND random() < 0.5
                 THEN (ARRAY['pending', 'in_progress'])[1 + floor(random() * 2)::int]
                 WHEN random() < 0.07 THEN 'failed' ELSE 'completed' END AS status
        FROM generate_series(1, %(jobs)s) n
    ) AS drawn
    JOIN tenancy_virtualkey k ON k.team_id = drawn.team
    ORDER BY moment
"""
HOLDS = """
    INSERT INTO billing_credithold (id, account_id, job_id, amount, state, created_at, ended_at, balance_after)
    SELECT gen_random_uuid(), team_id, id, 1, state, created_at, ended_at,
        CASE WHEN state <> 'held' THEN 1000 END
    FROM (
        SELECT *, CASE WHEN ended_at IS NULL THEN 'held' WHEN status = 'completed' THEN 'captured'
                       WHEN random() < 0.02 THEN 'expired' ELSE 'released' END AS state
        FROM jobs_job
    ) AS j
    ORDER BY created_at
"""
CALLS = """
    INSERT INTO jobs_call (id, job_id, team_id, team_user_id, group_id, model_group, purpose, state, cause, error,
                           is_late, prompt_tokens, completion_tokens, cost_usd, latency_ms, finish_reason, created_at,
                           deadline_at, started_at, ended_at)
    SELECT gen_random_uuid(), job, team_id, team_user_id, g.id, g.group_name, 'step ' || drawn.number, state,
        CASE state WHEN 'succeeded' THEN '' WHEN 'running' THEN '' WHEN 'interrupted' THEN 'interrupted'
             WHEN 'cancelled' THEN 'client_gone'
             ELSE (ARRAY['timeout', 'rate_limited', 'provider_error', 'invalid_request'])[1 + floor(random() * 4)::int]
        END,
        CASE state WHEN 'failed' THEN 'LLM call failed' ELSE '' END, random() < 0.0002,
        (200 + random() * 3000)::int, (20 + random() * 800)::int, 0.0005 + random()::numeric * 0.02,
        CASE state WHEN 'running' THEN NULL ELSE (300 * exp(random() * 3.5))::int END, 'stop', moment,
        moment + interval '2 minutes', moment,
        CASE state WHEN 'running' THEN NULL ELSE moment + interval '1 second' END
    FROM (
        SELECT j.id AS job, j.team_id, j.team_user_id, number, j.created_at + number * interval '1 second' AS moment,
            1 + floor(random() * 3)::int AS group_number,
            CASE WHEN j.ended_at IS NULL AND random() < 0.2 THEN 'running' WHEN random() < 0.05 THEN 'failed'
                 WHEN random() < 0.001 THEN 'interrupted' WHEN random() < 0.001 THEN 'cancelled'
                 ELSE 'succeeded' END AS state
        FROM jobs_job j, generate_series(1, %(calls_per_job)s) number
    ) AS drawn
    JOIN (SELECT id, group_name, row_number() OVER (ORDER BY group_name) AS number FROM modelgroups_modelgroup) g
        ON g.number = drawn.group_number
    ORDER BY moment
"""
ATTEMPTS = """
    INSERT INTO jobs_attempt (call_id, sequence, model_name, outcome, cause, error_class, http_status, latency_ms,
                              prompt_tokens, completion_tokens, cost_usd, usage_is_estimated, started_at)
    SELECT id, sequence,
        (ARRAY['gpt-4o', 'gpt-4o-mini', 'claude-sonnet', 'gemini-flash'])[1 + floor(random() * 4)::int],
        CASE WHEN cause = '' THEN 'succeeded' ELSE 'failed' END, cause,
        CASE cause WHEN '' THEN '' ELSE 'Timeout' END, CASE cause WHEN '' THEN 200 ELSE 500 END,
        COALESCE(latency_ms, 1), prompt_tokens, completion_tokens, cost_usd, false, created_at
    FROM (
        SELECT c.*, sequence
        FROM (SELECT *, CASE WHEN random() < 0.05 THEN 2 ELSE 1 END AS attempts FROM jobs_call) AS c,
             generate_series(1, c.attempts) sequence
        WHERE state <> 'running'
    ) AS tried
    ORDER BY created_at, id
"""
#: A deduction for each captured hold; the rest are refills, and the first of a team is a large one.
ENTRIES = """
    INSERT INTO billing_ledgerentry (id, account_id, sequence, kind, amount, balance_after, reason, job_id, hold_id,
                                     grant_kind, grant_priority, metadata, actor, created_at, digest)
    SELECT gen_random_uuid(), account, row_number() OVER by_account, kind, amount, sum(amount) OVER by_account, reason,
        job_id, hold, CASE WHEN amount > 0 THEN 'refill' END, CASE WHEN amount > 0 THEN 100 END, '{}', 'seeded',
        moment, '\\x00'
    FROM (
        SELECT account_id AS account, 'deduction' AS kind, -amount AS amount, 'Job completed successfully' AS reason,
            job_id, id AS hold, ended_at AS moment
        FROM billing_credithold WHERE state = 'captured'
        UNION ALL
        SELECT id, 'allocation', 1000000, 'Opening', NULL, NULL,
            now() - (%(days)s + 1) * interval '1 day' FROM tenancy_team
        UNION ALL
        SELECT 1 + floor(%(teams)s * random() ^ 2)::int,
            CASE WHEN random() < 0.01 THEN 'adjustment' ELSE 'allocation' END, 1, 'Refill', NULL, NULL,
            now() - random() * %(days)s * interval '1 day'
        FROM generate_series(1, %(entries)s - (SELECT count(*) FROM billing_credithold WHERE state = 'captured'))
    ) AS drawn
    WINDOW by_account AS (PARTITION BY account ORDER BY moment, hold ROWS UNBOUNDED PRECEDING)
    ORDER BY moment
"""
GRANTS = """
    INSERT INTO billing_creditgrant (id, account_id, entry_id, sequence, kind, amount, remaining, is_spent, priority,
                                     created_at)
    SELECT gen_random_uuid(), account_id, id, sequence, grant_kind, amount, CASE amount WHEN 1 THEN 0 ELSE amount END,
        amount = 1, 100, created_at
    FROM billing_ledgerentry WHERE amount > 0 ORDER BY created_at;

    INSERT INTO billing_grantdraw (entry_id, grant_id, amount)
    SELECT e.id, g.id, 1 FROM billing_ledgerentry e
    JOIN billing_creditgrant g ON g.account_id = e.account_id AND g.amount > 1
    WHERE e.kind = 'deduction' ORDER BY e.created_at;

    INSERT INTO billing_creditaccount (team_id, allocated, used, held, last_sequence, auto_refill, created_at)
    SELECT t.id, sum(e.amount) FILTER (WHERE e.kind <> 'deduction'),
        COALESCE(-sum(e.amount) FILTER (WHERE e.kind = 'deduction'), 0), COALESCE(max(h.held), 0), max(e.sequence),
        false, t.created_at
    FROM tenancy_team t JOIN billing_ledgerentry e ON e.account_id = t.id
    -- Once over the table each: there is no index yet.
    LEFT JOIN (SELECT account_id, count(*) AS held FROM billing_credithold WHERE state = 'held' GROUP BY 1) h
        ON h.account_id = t.id
    GROUP BY t.id;
    INSERT INTO billing_teambudget (team_id, spent_usd, reserved_usd)
    SELECT t.id, COALESCE(c.spent_usd, 0), 0 FROM tenancy_team t
    LEFT JOIN (SELECT team_id, sum(cost_usd) AS spent_usd FROM jobs_call GROUP BY 1) c ON c.team_id = t.id;
"""
STEPS = {
    "tenants": TENANTS, "jobs": JOBS, "holds": HOLDS, "calls": CALLS, "attempts": ATTEMPTS, "entries": ENTRIES,
    "grants, draws, accounts": GRANTS,
}  # fmt: skip


#: Built again at the end, all at once, which is several times faster.
INDEXES = """
    SELECT indexname, indexdef FROM pg_indexes
    WHERE tablename IN ('jobs_job', 'jobs_call', 'jobs_attempt', 'billing_credithold', 'billing_ledgerentry',
                        'billing_creditgrant', 'billing_grantdraw')
        AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""


def seed(size: Size, say: Callable[[str], None]) -> None:
    """Fill the database; some ten minutes at full size."""
    from django.db import connection, transaction

    parameters = {
        "jobs": size.jobs,
        "calls_per_job": size.calls_per_job,
        "entries": size.entries,
        "days": DAYS,
        "teams": TEAMS,
        "organizations": ORGANIZATIONS,
        "users": USERS_PER_TEAM,
    }
    with connection.cursor() as cursor:
        cursor.execute(INDEXES)
        indexes = cursor.fetchall()
        cursor.execute("SET maintenance_work_mem = '512MB'")
        cursor.execute("SET work_mem = '256MB'")
        for name, _ in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        for name, statement in STEPS.items():
            began = time.monotonic()
            with transaction.atomic():
                cursor.execute("SET LOCAL session_replication_role = replica")
                cursor.execute(statement, parameters)
            say(f"- {name}: {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        for _, definition in indexes:
            cursor.execute(definition)
        say(f"- indexes: {time.monotonic() - began:.0f} s")
        cursor.execute("RESET maintenance_work_mem")
        cursor.execute("RESET work_mem")
        cursor.execute("VACUUM ANALYZE")
