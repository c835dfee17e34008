"""Two months of a small business, so that pictures of the console look alive.

Rows as `make bench`'s seeder writes them, past the triggers: these books are for looking at, not for proving.
"""

from typing import Any

import psycopg

from benchmarks.seed_console import ATTEMPTS, CALLS, HOLDS
from tests.support.stack import FakeProvider, Stack

DAYS, JOBS_DRAWN = 60, 3000
#: The team with the most jobs.
TEAM_PK = 1
SEED = "SELECT setseed(0.25)"
TENANTS = """
    INSERT INTO tenancy_organization (organization_id, name, status, metadata, created_at, updated_at)
    SELECT id, name, 'active', '{}', now() - interval '61 days', now()
    FROM (VALUES ('northwind', 'Northwind Logistics'), ('globex', 'Globex Health'), ('initech', 'Initech HR'))
        AS o(id, name);

    INSERT INTO tenancy_team (id, organization_id, team_id, team_alias, status, metadata, created_at, updated_at)
    OVERRIDING SYSTEM VALUE
    SELECT n, o.id, team, alias, 'active', '{}', now() - interval '61 days', now()
    FROM (VALUES
        (1, 'northwind', 'northwind-claims', 'Claims desk'), (2, 'globex', 'globex-intake', 'Patient intake'),
        (3, 'initech', 'initech-recruiting', 'Recruiting'), (4, 'northwind', 'northwind-support', 'Support chat'),
        (5, 'globex', 'globex-research', 'Research'), (6, 'initech', 'initech-sandbox', 'Sandbox')
    ) AS t(n, organization, team, alias) JOIN tenancy_organization o ON o.organization_id = t.organization;

    INSERT INTO tenancy_virtualkey (id, team_id, name, key_hash, last_four, created_at)
    SELECT gen_random_uuid(), id, 'production', sha256(team_id::bytea), 'k' || (100 + id), created_at
    FROM tenancy_team;

    INSERT INTO modelgroups_modelgroup (id, group_name, display_name, description, status, metadata, created_at,
                                        updated_at)
    SELECT gen_random_uuid(), name, title, '', 'active', '{}', now() - interval '61 days', now()
    FROM (VALUES ('ChatAgent', 'General chat'), ('ExtractAgent', 'Fields of documents'),
        ('SummaryAgent', 'Summaries')) AS g(name, title);

    INSERT INTO modelgroups_groupassignment (team_id, group_id, position)
    SELECT t.id, g.id, row_number() OVER (PARTITION BY t.id ORDER BY group_name) - 1
    FROM tenancy_team t, modelgroups_modelgroup g;
"""
#: More from week to week, little at weekends; what began in the last hour may be open.
JOBS = """
    INSERT INTO jobs_job (id, team_id, virtual_key_id, user_id, job_type, status, metadata, error_message, created_at,
                          started_at, ended_at, expires_at, ends_with_call)
    SELECT gen_random_uuid(), drawn.team, k.id, 'user-' || floor(random() * 200)::int,
        (ARRAY['extract_claim', 'answer_ticket', 'screen_resume', 'summarize_report', 'translate'])
            [1 + floor(5 * random() ^ 1.4)::int],
        status, '{}', CASE status WHEN 'failed' THEN 'The document could not be read' ELSE '' END, moment, moment,
        CASE WHEN status IN ('completed', 'failed') THEN moment + random() * interval '2 minutes' END,
        now() + interval '1 day', false
    FROM (
        SELECT 1 + floor(6 * random() ^ 1.6)::int AS team, moment,
            CASE WHEN moment > now() - interval '1 hour' THEN 'in_progress'
                 WHEN random() < 0.05 THEN 'failed' ELSE 'completed' END AS status
        FROM (
            SELECT now() - %(days)s * interval '1 day' * (1 - (n / %(jobs)s::float8) ^ 0.75) AS moment
            FROM generate_series(1, %(jobs)s) n
        ) AS moments
        WHERE extract(isodow FROM moment) < 6 OR random() < 0.3
    ) AS drawn
    JOIN tenancy_virtualkey k ON k.team_id = drawn.team
"""
#: A team opens with some credits, and is refilled every ten days.
ENTRIES = """
    INSERT INTO billing_ledgerentry (id, account_id, sequence, kind, amount, balance_after, reason, job_id, hold_id,
                                     grant_kind, grant_priority, metadata, actor, created_at, digest)
    SELECT gen_random_uuid(), account, row_number() OVER by_account, kind, amount, sum(amount) OVER by_account, reason,
        job_id, hold, CASE WHEN amount > 0 THEN 'refill' END, CASE WHEN amount > 0 THEN 100 END, '{}', 'demo', moment,
        '\\x00'
    FROM (
        SELECT account_id AS account, 'deduction' AS kind, -amount AS amount, 'Job completed successfully' AS reason,
            job_id, id AS hold, ended_at AS moment
        FROM billing_credithold WHERE state = 'captured'
        UNION ALL
        SELECT account_id, 'allocation', greatest(50, 10 * (count(*) / 50)), 'Monthly refill', NULL, NULL,
            now() - interval '61 days' + turn * interval '10 days'
        FROM billing_credithold, generate_series(0, 6) turn WHERE state = 'captured' GROUP BY account_id, turn
    ) AS drawn
    WINDOW by_account AS (PARTITION BY account ORDER BY moment, hold ROWS UNBOUNDED PRECEDING)
"""
#: What is used is used of the oldest.
GRANTS = """
    INSERT INTO billing_creditgrant (id, account_id, entry_id, sequence, kind, amount, remaining, is_spent, priority,
                                     created_at)
    SELECT gen_random_uuid(), account_id, id, sequence, grant_kind, amount, remaining, remaining = 0, 100, created_at
    FROM (
        SELECT e.*, greatest(0, least(amount, sum(amount) OVER (PARTITION BY account_id ORDER BY sequence) - used))
            AS remaining
        FROM billing_ledgerentry e
        JOIN (SELECT account_id, -sum(amount) AS used FROM billing_ledgerentry WHERE amount < 0 GROUP BY account_id) u
            USING (account_id)
        WHERE amount > 0
    ) AS given;

    INSERT INTO billing_creditaccount (team_id, allocated, used, held, last_sequence, auto_refill, created_at)
    SELECT t.id, sum(e.amount) FILTER (WHERE e.amount > 0), -sum(e.amount) FILTER (WHERE e.amount < 0),
        (SELECT count(*) FROM billing_credithold h WHERE h.account_id = t.id AND h.state = 'held'), max(e.sequence),
        false, t.created_at
    FROM tenancy_team t JOIN billing_ledgerentry e ON e.account_id = t.id GROUP BY t.id;

    INSERT INTO billing_teambudget (team_id, spent_usd, reserved_usd)
    SELECT t.id, COALESCE((SELECT sum(cost_usd) FROM jobs_call c WHERE c.team_id = t.id), 0), 0 FROM tenancy_team t;

    SELECT setval(pg_get_serial_sequence('tenancy_team', 'id'), 1000);
"""


def seed(stack: Stack) -> None:
    """Into an empty database."""
    parameters = {"days": DAYS, "jobs": JOBS_DRAWN, "calls_per_job": 2}
    with psycopg.connect(stack.database_url) as connection, psycopg.ClientCursor(connection) as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(SEED)
        for statement in (TENANTS, JOBS, HOLDS, CALLS, ATTEMPTS, ENTRIES, GRANTS):
            cursor.execute(statement, parameters)
    stack.manage("rebuild_rollups")


def run_a_rescued_job(stack: Stack, provider: FakeProvider) -> str:
    """A real one, of a new team; the first model of its second call fails."""
    api = stack.client(stack.manage("create_operator_key", "demo"))

    def post(path: str, **body: Any) -> dict[str, Any]:
        answer = api.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def model(name: str, behaviour: str, priority: int) -> dict[str, Any]:
        config = {"model": "openai/gpt-4o", "api_base": f"{provider.url}/{behaviour}/v1", "api_key": "sk-upstream"}
        return {"model_name": name, "priority": priority, "config": config}

    team, steady, shaky = "northwind-contracts", "ReadAgent", "ReviewAgent"
    post("/api/model-groups/create", group_name=steady, models=[model("gpt-4o-mini", "ok/receipt", 0)])
    models = [model("gpt-4o", "status-503/receipt", 0), model("gpt-4o-mini", "ok/receipt", 1)]
    post("/api/model-groups/create", group_name=shaky, models=models)
    opened = post(
        "/api/teams/create",
        organization_id="northwind",
        team_id=team,
        team_alias="Contracts",
        model_groups=[steady, shaky],
        credits_allocated=250,
    )
    api.headers["Authorization"] = f"Bearer {opened['virtual_key']}"
    metadata = {"document": "lease-2026-114.pdf"}
    job_id = str(post("/api/jobs/create", team_id=team, job_type="review_contract", metadata=metadata)["job_id"])
    messages = [{"role": "user", "content": "Which clauses are unusual?"}]
    for purpose, group in [("read the clauses", steady), ("review them", shaky), ("summarize", steady)]:
        post(f"/api/jobs/{job_id}/llm-call", model_group=group, messages=messages, purpose=purpose)
    post(f"/api/jobs/{job_id}/complete", status="completed")
    return job_id
