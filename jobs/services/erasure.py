"""Erasing a team's user: what is stored of him goes, what the books are made of stays (docs/adr/0064).

He has got a pseudonym before (request_erasure). Here his jobs get it, too, and lose metadata and messages; calls lose
purposes, prompts and answers; replies under an Idempotency-Key and webhook events that tell of them are deleted. No
amount, time, state or model is touched. In batches, each a transaction: killed anywhere, the next run finds what is
left. Of jobs and calls that are open, only the name goes before they have ended.
"""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from config.foundation.failpoints import failpoint
from jobs.services.old_users import give_his_jobs
from tenancy.models import TeamUser, WebhookEvent
from tenancy.queries.tenants import get_team
from tenancy.queries.users import get_user
from tenancy.services.users import begin_erasure, end_erasure, is_name_settled, put_off_erasure

logger = logging.getLogger(__name__)

BATCH = 500
#: How long one task goes on, so that the sweepers, which wait in the same queue, get their turn.
TURN_S = 5.0

#: Nothing will be stored of it any more. The worker of a call that the sweeper ended may be just about to.
_IS_OVER = """
    (c.ended_at IS NOT NULL
     AND (c.cause NOT IN ('interrupted', 'deadline') OR c.deadline_at < now() - interval '1 minute'))
"""

#: Something is kept with a call that he may be known by.
_CALL_HAS_TEXTS = """
    (c.purpose <> '' OR EXISTS (SELECT FROM jobs_callcontent t WHERE t.call_id = c.id)
     OR EXISTS (SELECT FROM tenancy_idempotencyrecord r WHERE r.claimed_for = c.id)
     OR EXISTS (SELECT FROM tenancy_webhookevent e WHERE e.data ->> 'call_id' = c.id::text))
"""
#: The same for a job. His own calls in it are found without it.
_JOB_HAS_TEXTS = f"""
    (j.user_id <> %(pseudonym)s OR j.metadata <> '{{}}' OR j.error_message <> ''
     OR EXISTS (SELECT FROM tenancy_idempotencyrecord r WHERE r.claimed_for = j.id)
     OR EXISTS (SELECT FROM tenancy_webhookevent e WHERE e.data ->> 'job_id' = j.id::text)
     OR EXISTS (SELECT FROM jobs_call c
                WHERE c.job_id = j.id AND c.team_user_id IS DISTINCT FROM %(user_pk)s AND {_CALL_HAS_TEXTS}))
"""  # noqa: S608 (constants of ours, as all below)
_HAS_OPEN_CALLS = f"EXISTS (SELECT FROM jobs_call c WHERE c.job_id = j.id AND NOT {_IS_OVER})"

_NEXT_JOBS = f"""
    SELECT j.created_at, j.id FROM jobs_job j
    WHERE j.team_user_id = %(user_pk)s AND (j.created_at, j.id) > (%(after_at)s, %(after_id)s)
        AND j.ended_at IS NOT NULL AND {_JOB_HAS_TEXTS} AND NOT {_HAS_OPEN_CALLS}
    ORDER BY j.created_at, j.id
    LIMIT %(batch)s
    FOR NO KEY UPDATE OF j
"""  # noqa: S608

_NEXT_CALLS = f"""
    SELECT c.created_at, c.id FROM jobs_call c
    WHERE c.team_user_id = %(user_pk)s AND (c.created_at, c.id) > (%(after_at)s, %(after_id)s)
        AND {_IS_OVER} AND {_CALL_HAS_TEXTS}
    ORDER BY c.created_at, c.id
    LIMIT %(batch)s
    FOR NO KEY UPDATE OF c
"""  # noqa: S608

#: Open jobs keep all but the name until they have ended: events of them are told under the pseudonym.
_RENAME_OPEN_JOBS = """
    UPDATE jobs_job SET user_id = %(pseudonym)s
    WHERE id IN (
        SELECT id FROM jobs_job
        WHERE team_user_id = %(user_pk)s AND ended_at IS NULL AND user_id <> %(pseudonym)s
        ORDER BY id
        FOR NO KEY UPDATE)
"""
_ERASE_JOBS = """
    UPDATE jobs_job SET user_id = %(pseudonym)s, metadata = '{}', error_message = '' WHERE id = ANY(%(ids)s)
"""
_CALLS_OF_JOBS = "SELECT id FROM jobs_call WHERE job_id = ANY(%(ids)s) ORDER BY id FOR NO KEY UPDATE"
_FORGET_REPLIES = "DELETE FROM tenancy_idempotencyrecord WHERE claimed_for = ANY(%(ids)s)"
_ERASE_CALLS = (
    "UPDATE jobs_call SET purpose = '' WHERE id = ANY(%(ids)s) AND purpose <> ''",
    "DELETE FROM jobs_callcontent WHERE call_id = ANY(%(ids)s)",
    _FORGET_REPLIES,
)

#: Locked before they are deleted: whoever makes the deliveries of one does that, too. Those of a job's calls are its.
_EVENTS_OF_JOBS = """
    SELECT id FROM tenancy_webhookevent WHERE data ->> 'job_id' = ANY(%(names)s) ORDER BY id FOR UPDATE
"""
_EVENTS_OF_CALLS = _EVENTS_OF_JOBS.replace("job_id", "call_id")

#: Whether anything of his is still to be erased, or still open. Also what has ended behind the batches' back.
_IS_LEFT = f"""
    SELECT EXISTS (
        SELECT FROM jobs_job j
        WHERE j.team_user_id = %(user_pk)s AND (j.ended_at IS NULL OR {_JOB_HAS_TEXTS} OR {_HAS_OPEN_CALLS}))
    OR EXISTS (
        SELECT FROM jobs_call c WHERE c.team_user_id = %(user_pk)s AND (NOT {_IS_OVER} OR {_CALL_HAS_TEXTS}))
"""  # noqa: S608


def erase_users(*, turn_s: float = TURN_S) -> int:
    """Go on with all users who are being erased, for so long; returns how many are erased now that were not before."""
    turn_ends = time.monotonic() + turn_s

    def is_over() -> bool:
        return time.monotonic() > turn_ends

    # In any order: those who wait for their open jobs must not keep the others waiting, turn after turn.
    now = timezone.now()
    waiting = TeamUser.objects.filter(status=TeamUser.Status.ERASING).exclude(next_erasure_at__gt=now).order_by("?")
    erased = 0
    for pk in list(waiting.values_list("id", flat=True)):
        try:
            erased += erase_user(user_pk=pk, is_over=is_over)
        except DatabaseError:
            # A deadlock with somebody, say: no trouble of the others', and of his the next run's.
            logger.warning("user %s could not be erased this time", pk, exc_info=True)
        if is_over():
            break
    return erased


def erase_user(*, user_pk: int, is_over: Callable[[], bool] = lambda: False) -> bool:
    """Erase what can be erased of one who has got his pseudonym; whether nothing is left, and that was news.

    `is_over` says when to stop in the middle. Repeating it is safe; of two at one time, one does nothing.
    """
    with connection.cursor() as cursor:
        # Of the session: it spans many transactions, and goes with the connection of a process that dies.
        cursor.execute("SELECT pg_try_advisory_lock(hashtext('erase_user'), %s)", [user_pk % 2**31])
        (is_ours,) = cursor.fetchone()
        if not is_ours:
            return False
        try:
            return _erase(TeamUser.objects.get(pk=user_pk), is_over)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(hashtext('erase_user'), %s)", [user_pk % 2**31])


def _erase(user: TeamUser, is_over: Callable[[], bool]) -> bool:
    # Asked first: what was written by those who knew the name is then among what is looked through below.
    is_settled = is_name_settled(user.pk)
    with connection.cursor() as cursor:
        cursor.execute(_RENAME_OPEN_JOBS, _parameters(user))
    for erase in (_erase_jobs, _erase_calls):
        for _ in erase(user):
            failpoint("erasure.half_way")
            if is_over():
                return False
    if is_settled and not _is_left(user):
        return end_erasure(user_pk=user.pk)
    put_off_erasure(user)
    return False


def _parameters(user: TeamUser) -> dict[str, Any]:
    return {"user_pk": user.pk, "pseudonym": user.user_id}


def _batches(query: str, user: TeamUser, erase: Callable[[Any, dict[str, Any]], None]) -> Iterator[int]:
    """A transaction for each batch of rows, from the oldest on; yields how many it had."""
    after: tuple[datetime, UUID] = (datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            position = {"after_at": after[0], "after_id": after[1], "batch": BATCH}
            cursor.execute(query, _parameters(user) | position)
            rows = cursor.fetchall()
            if not rows:
                return
            erase(cursor, {"ids": [pk for _, pk in rows], "pseudonym": user.user_id})
        after = rows[-1]
        yield len(rows)


def _erase_jobs(user: TeamUser) -> Iterator[int]:
    def erase(cursor: Any, chosen: dict[str, Any]) -> None:
        # His own calls and those that others made in his jobs.
        cursor.execute(_CALLS_OF_JOBS, chosen)
        _erase_their_texts(cursor, {"ids": [pk for (pk,) in cursor.fetchall()]})
        cursor.execute(_FORGET_REPLIES, chosen)
        _forget_events(cursor, _EVENTS_OF_JOBS, chosen["ids"])
        cursor.execute(_ERASE_JOBS, chosen)

    return _batches(_NEXT_JOBS, user, erase)


def _erase_calls(user: TeamUser) -> Iterator[int]:
    def erase(cursor: Any, chosen: dict[str, Any]) -> None:
        _erase_their_texts(cursor, chosen)
        _forget_events(cursor, _EVENTS_OF_CALLS, chosen["ids"])

    return _batches(_NEXT_CALLS, user, erase)


def _erase_their_texts(cursor: Any, calls: dict[str, Any]) -> None:
    for statement in _ERASE_CALLS:
        cursor.execute(statement, calls)


def _forget_events(cursor: Any, query: str, ids: list[UUID]) -> None:
    """With their deliveries, those that wait included."""
    cursor.execute(query, {"names": [str(pk) for pk in ids]})
    WebhookEvent.objects.filter(id__in=[pk for (pk,) in cursor.fetchall()]).delete()


def _is_left(user: TeamUser) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_IS_LEFT, _parameters(user))
        (is_left,) = cursor.fetchone()
    return bool(is_left)


def request_erasure(*, user_pk: int, actor: str, reason: str = "") -> TeamUser:
    """Give a user a pseudonym at once, and have the rest erased by the beat. Repeating it changes nothing.

    What is his by name only is made his before, because nobody could say so afterwards.
    """
    user = TeamUser.objects.get(pk=user_pk)
    if user.status in (TeamUser.Status.ACTIVE, TeamUser.Status.BLOCKED):
        give_his_jobs(user)
    return begin_erasure(user_pk=user_pk, actor=actor, reason=reason)


def erase_user_of_team(*, team_id: str, user_id: str, actor: str, reason: str = "") -> TeamUser:
    """Erase a user at once, as far as his jobs and calls have ended; the beat erases the rest.

    Raises InvalidInput, TeamNotFound, TeamUserNotFound.
    """
    team = get_team(team_id)
    user = request_erasure(user_pk=get_user(team_pk=team.pk, user_id=user_id).pk, actor=actor, reason=reason)
    erase_user(user_pk=user.pk)
    user.refresh_from_db()
    return user
