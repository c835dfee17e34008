"""Fill a database with ledger entries, to see how long verify_ledger takes over them.

    DATABASE_URL=… REDIS_URL=… DJANGO_DEBUG=1 python -m benchmarks.seed_ledger --entries 1000000
    DATABASE_URL=… REDIS_URL=… DJANGO_DEBUG=1 python manage.py verify_ledger

Everything goes through the real triggers: teams with a grant of 1,000 credits, and completed jobs with a hold, a
deduction, a call and an attempt each. For a migrated database that nobody needs. Run again, it goes on where it was.
"""

import argparse
import os
import time
from typing import Any

import django

ENTRIES_PER_TEAM = 1_000
TEAMS_PER_TRANSACTION = 5

TEAMS = """
    WITH organization AS (
        INSERT INTO tenancy_organization (organization_id, name, status, metadata, created_at, updated_at)
        VALUES ('seeded-' || %(first)s, 'Seeded', 'active', '{}', now(), now()) RETURNING id
    ), team AS (
        INSERT INTO tenancy_team (organization_id, team_id, team_alias, status, metadata, created_at, updated_at)
        SELECT id, 'seeded-' || n, '', 'active', '{}', now(), now()
        FROM organization, generate_series(%(first)s::int, %(last)s::int) n
        RETURNING id
    )
    INSERT INTO billing_creditaccount (team_id, allocated, used, held, last_sequence, auto_refill, created_at)
    SELECT id, 0, 0, 0, 0, false, now() FROM team
    RETURNING team_id
"""
GRANTS = """
    INSERT INTO billing_ledgerentry
        (id, account_id, sequence, kind, amount, balance_after, reason, metadata, actor, created_at)
    SELECT gen_random_uuid(), team, 0, 'allocation', 1000, 0, 'Seeded', '{}', 'seed_ledger', now()
    FROM unnest(%(teams)s::bigint[]) team
"""
JOBS = """
    INSERT INTO jobs_job (id, team_id, user_id, job_type, status, metadata, error_message, created_at, started_at,
                          ended_at, expires_at, ends_with_call)
    SELECT gen_random_uuid(), team, '', 'seeded', 'completed', '{}', '', now(), now(), now(), now(), false
    FROM unnest(%(teams)s::bigint[]) team, generate_series(1, %(jobs)s)
"""
HOLDS = """
    INSERT INTO billing_credithold (id, account_id, job_id, amount, state, created_at)
    SELECT gen_random_uuid(), team_id, id, 1, 'held', now() FROM jobs_job WHERE team_id = ANY(%(teams)s)
"""
DEDUCTIONS = """
    INSERT INTO billing_ledgerentry
        (id, account_id, sequence, kind, amount, balance_after, reason, job_id, hold_id, metadata, actor, created_at)
    SELECT gen_random_uuid(), account_id, 0, 'deduction', -1, 0, 'Job seeded completed successfully', job_id, id, '{}',
           'team:' || gen_random_uuid(), now()
    FROM billing_credithold WHERE account_id = ANY(%(teams)s)
"""
CALLS = """
    WITH calls AS (
        INSERT INTO jobs_call (id, job_id, team_id, model_group, purpose, state, cause, error, is_late, prompt_tokens,
                               completion_tokens, cost_usd, finish_reason, created_at, deadline_at, started_at,
                               ended_at)
        SELECT gen_random_uuid(), id, team_id, 'Seeded', '', 'succeeded', '', '', false, 100, 50, 0.0015, 'stop',
               now(), now(), now(), now()
        FROM jobs_job WHERE team_id = ANY(%(teams)s)
        RETURNING id
    )
    INSERT INTO jobs_attempt (call_id, sequence, model_name, outcome, cause, error_class, latency_ms, prompt_tokens,
                              completion_tokens, cost_usd, usage_is_estimated, started_at)
    SELECT id, 1, 'gpt-4o-mini', 'succeeded', '', '', 5, 100, 50, 0.0015, false, now() FROM calls
"""


def seed(entries: int) -> None:
    from django.db import connection, transaction

    began = time.monotonic()
    number_of_teams = max(1, entries // ENTRIES_PER_TEAM)
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM tenancy_team WHERE team_id LIKE 'seeded-%'")
        (seeded,) = cursor.fetchone()
    for first in range(seeded, number_of_teams, TEAMS_PER_TRANSACTION):
        last = min(first + TEAMS_PER_TRANSACTION, number_of_teams) - 1
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(TEAMS, {"first": first, "last": last})
            parameters: dict[str, Any] = {
                "teams": [team for (team,) in cursor.fetchall()],
                "jobs": ENTRIES_PER_TEAM - 1,
            }
            for statement in (GRANTS, JOBS, HOLDS, DEDUCTIONS, CALLS):
                cursor.execute(statement, parameters)
        took_s = time.monotonic() - began
        print(f"\r{(last + 1) * ENTRIES_PER_TEAM} entries, {took_s:.0f} s", end="", flush=True)
    print()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    seed(parser.parse_args().entries)
