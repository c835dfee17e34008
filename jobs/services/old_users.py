"""Jobs that name a user and have none are given him, with their calls.

They were written before there were users, or by the release before while one rolls. In batches, each a transaction:
killed anywhere, the next run goes on. When none are left, it is one look at an empty index.
"""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from tenancy.models import TeamUser
from tenancy.queries.users import OURS, stored_user_id

BATCH = 500
#: How long one task goes on, so that the others of its queue get their turn.
TURN_S = 5.0

_NEXT_TEAM = "SELECT team_id FROM jobs_job WHERE team_user_id IS NULL AND user_id <> '' ORDER BY team_id LIMIT 1"
_THEIR_NAMES = "SELECT DISTINCT user_id FROM jobs_job WHERE team_id = %s AND team_user_id IS NULL AND user_id <> ''"
#: In the order in which others lock jobs.
_NEXT_JOBS = """
    SELECT id, user_id FROM jobs_job
    WHERE team_user_id IS NULL AND id = ANY (ARRAY(
        SELECT id FROM jobs_job
        WHERE team_id = %(team_pk)s AND team_user_id IS NULL AND user_id <> ''
            AND (%(names)s::text[] IS NULL OR user_id = ANY (%(names)s))
        LIMIT %(batch)s))
    ORDER BY id
    FOR NO KEY UPDATE
"""
_THEIR_USERS = """
    WITH named AS (SELECT * FROM unnest(%(ids)s::uuid[], %(names)s::text[]) AS n (id, user_id)),
    who AS (
        INSERT INTO tenancy_teamuser (team_id, user_id, status, first_seen_at, last_seen_at)
        SELECT %(team_pk)s, named.user_id, 'active', min(created_at), max(created_at)
        FROM named JOIN jobs_job USING (id) GROUP BY named.user_id ORDER BY named.user_id
        ON CONFLICT (team_id, user_id) DO UPDATE
        SET first_seen_at = LEAST(tenancy_teamuser.first_seen_at, EXCLUDED.first_seen_at),
            last_seen_at = GREATEST(tenancy_teamuser.last_seen_at, EXCLUDED.last_seen_at)
        RETURNING id, user_id
    )
    UPDATE jobs_job j SET user_id = who.user_id, team_user_id = who.id
    FROM named JOIN who USING (user_id) WHERE j.id = named.id
"""
_THEIR_CALLS = """
    UPDATE jobs_call c SET team_user_id = j.team_user_id
    FROM jobs_job j WHERE j.id = ANY (%(ids)s) AND c.job_id = j.id AND c.team_user_id IS NULL
"""
#: Where they have limits, by then. The locks are in the order of jobs' migration user_rules.
_LIMITS = """
    SELECT DISTINCT l.id FROM tenancy_userlimit l JOIN jobs_job j ON j.team_user_id = l.user_id
    WHERE l.kind = 'credits' AND j.id = ANY (%(ids)s)
"""
_LOCK_ACCOUNT = "SELECT FROM billing_creditaccount WHERE team_id = %(team_pk)s FOR NO KEY UPDATE"
_COUNT_AGAIN = """
    UPDATE tenancy_userlimit SET taken = jobs_user_credits(user_id, month)
    WHERE id IN (SELECT id FROM tenancy_userlimit WHERE id = ANY (%(limits)s) ORDER BY id FOR NO KEY UPDATE)
"""


def give_jobs_their_users(*, turn_s: float = TURN_S) -> int:
    """Go on with all teams for so long; returns how many jobs got their user."""
    turn_ends = time.monotonic() + turn_s

    def is_over() -> bool:
        return time.monotonic() > turn_ends

    given = 0
    while (team_pk := _next_team()) is not None:
        given += _give(team_pk, None, is_over=is_over)
        if is_over():
            break
    return given


def _next_team() -> int | None:
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_TEAM)
        found = cursor.fetchone()
    return None if found is None else int(found[0])


def give_his_jobs(user: TeamUser) -> int:
    """All jobs that name this one; returns how many. It may take minutes per million."""
    names = [user.user_id]
    if user.user_id.startswith(OURS):
        with connection.cursor() as cursor:
            cursor.execute(_THEIR_NAMES, [user.team_id])
            names = [name for (name,) in cursor.fetchall() if stored_user_id(name) == user.user_id]
    return _give(user.team_id, names)


def _give(team_pk: int, names: list[str] | None, *, is_over: Callable[[], bool] = lambda: False) -> int:
    given = 0
    while count := _give_batch(team_pk, names):
        given += count
        if is_over():
            break
    return given


@transaction.atomic
def _give_batch(team_pk: int, names: list[str] | None) -> int:
    parameters: dict[str, Any] = {"team_pk": team_pk, "names": names, "batch": BATCH}
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_JOBS, parameters)
        jobs: list[tuple[UUID, str]] = cursor.fetchall()
        if not jobs:
            return 0
        ids = [job_id for job_id, _ in jobs]
        chosen: dict[str, Any] = {"team_pk": team_pk, "ids": ids, "names": [stored_user_id(name) for _, name in jobs]}
        cursor.execute(_THEIR_USERS, chosen)
        cursor.execute(_THEIR_CALLS, chosen)
        cursor.execute(_LIMITS, chosen)
        if limits := [pk for (pk,) in cursor.fetchall()]:
            cursor.execute(_LOCK_ACCOUNT, chosen)
            cursor.execute(_COUNT_AGAIN, {"limits": limits})
    return len(jobs)
