"""Erasing a team's user: what is stored of him goes, what the books are made of stays (docs/adr/0064).

He has got a pseudonym before (request_erasure). Here his jobs get it, too, and lose metadata and messages; calls lose
purposes, prompts and answers; replies under an Idempotency-Key and webhook events that tell of them are deleted. No
amount, time, state or model is touched. In batches, each a transaction: killed anywhere, the next run finds what is
left. Of jobs and calls that are open, only the name goes before they have ended.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from config.foundation.failpoints import failpoint
from jobs.services.old_users import give_his_jobs
from tenancy.models import TeamUser, WebhookEvent
from tenancy.queries.tenants import get_team
from tenancy.queries.users import get_user
from tenancy.services.users import begin_erasure, end_erasure, is_name_settled, note_erasure_run, put_off_erasure

logger = logging.getLogger(__name__)

#: Rows that are looked at in one go.
BATCH = 500
#: The place before the first row.
START = {"after_at": "-infinity", "after_id": str(UUID(int=0))}
#: How long one task goes on, so that the sweepers, which wait in the same queue, get their turn.
TURN_S = 5.0

#: Something may still be stored of a call. The worker of one that the sweeper ended may be just about to.
_MAY_COME_BACK = "c.cause IN ('interrupted', 'deadline') AND c.deadline_at >= now() - interval '1 minute'"
_IS_OPEN = f"(c.ended_at IS NULL OR {_MAY_COME_BACK})"
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
#: A user's jobs or calls after a place among them, and those of them that there is something to erase of.
_IN_ORDER = """
    SELECT created_at, id FROM {table}
    WHERE team_user_id = %(user_pk)s AND (created_at, id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
    ORDER BY created_at, id
    LIMIT %(batch)s
"""
_JOBS_IN_ORDER, _CALLS_IN_ORDER = _IN_ORDER.format(table="jobs_job"), _IN_ORDER.format(table="jobs_call")
_JOBS_TO_ERASE = f"""
    SELECT j.id FROM jobs_job j
    WHERE j.id = ANY(%(ids)s) AND j.ended_at IS NOT NULL AND {_JOB_HAS_TEXTS}
        AND NOT EXISTS (SELECT FROM jobs_call c WHERE c.job_id = j.id AND {_IS_OPEN})
    ORDER BY j.id
    FOR NO KEY UPDATE OF j
"""  # noqa: S608
_CALLS_TO_ERASE = f"""
    SELECT c.id FROM jobs_call c WHERE c.id = ANY(%(ids)s) AND NOT {_IS_OPEN} AND {_CALL_HAS_TEXTS}
    ORDER BY c.id
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

#: Whether a job of his is open, or a call that is his or in a job of his.
_IS_ANYTHING_OPEN = f"""
    SELECT EXISTS (SELECT FROM jobs_job WHERE team_user_id = %(user_pk)s AND ended_at IS NULL)
        OR EXISTS (
            SELECT FROM jobs_call c LEFT JOIN jobs_job j ON j.id = c.job_id
            WHERE c.team_id = %(team_pk)s AND c.ended_at IS NULL
                AND %(user_pk)s IN (c.team_user_id, j.team_user_id))
        OR EXISTS (
            SELECT FROM jobs_call c LEFT JOIN jobs_job j ON j.id = c.job_id
            WHERE c.team_id = %(team_pk)s AND {_MAY_COME_BACK} AND %(user_pk)s IN (c.team_user_id, j.team_user_id))
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
    """Go on with his jobs and calls, from the oldest on, where the run before stopped.

    When it has come to their end, nothing is left of him if nothing more could be stored when it began.
    """
    run = user.erasure_run or {"is_last": is_name_settled(user.pk) and not _is_anything_open(user), "step": 0, **START}
    with connection.cursor() as cursor:
        cursor.execute(_RENAME_OPEN_JOBS, _parameters(user))
    while run["step"] < len(_STEPS):
        if (place := _erase_batch(user, run)) is None:
            run = {**run, "step": run["step"] + 1, **START}
            continue
        run = {**run, **place}
        failpoint("erasure.half_way")
        if is_over():
            note_erasure_run(user, run)
            return False
    if run["is_last"]:
        return end_erasure(user_pk=user.pk)
    put_off_erasure(user)
    return False


def _parameters(user: TeamUser) -> dict[str, Any]:
    return {"user_pk": user.pk, "team_pk": user.team_id, "pseudonym": user.user_id}


def _is_anything_open(user: TeamUser) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_IS_ANYTHING_OPEN, _parameters(user))
        (is_open,) = cursor.fetchone()
    return bool(is_open)


@transaction.atomic
def _erase_batch(user: TeamUser, run: dict[str, Any]) -> dict[str, str] | None:
    """Erase what there is of the next of his jobs or calls; the place of the last of them, None at their end."""
    in_order, to_erase, erase = _STEPS[run["step"]]
    place = {"after_at": run["after_at"], "after_id": run["after_id"], "batch": BATCH}
    with connection.cursor() as cursor:
        cursor.execute(in_order, _parameters(user) | place)
        rows: list[tuple[datetime, UUID]] = cursor.fetchall()
        if not rows:
            return None
        cursor.execute(to_erase, _parameters(user) | {"ids": [pk for _, pk in rows]})
        if ids := [pk for (pk,) in cursor.fetchall()]:
            erase(cursor, {"ids": ids, "pseudonym": user.user_id})
    last_at, last_id = rows[-1]
    return {"after_at": last_at.isoformat(), "after_id": str(last_id)}


def _erase_jobs(cursor: Any, chosen: dict[str, Any]) -> None:
    # His own calls and those that others made in his jobs.
    cursor.execute(_CALLS_OF_JOBS, chosen)
    _erase_their_texts(cursor, {"ids": [pk for (pk,) in cursor.fetchall()]})
    cursor.execute(_FORGET_REPLIES, chosen)
    _forget_events(cursor, _EVENTS_OF_JOBS, chosen["ids"])
    cursor.execute(_ERASE_JOBS, chosen)


def _erase_calls(cursor: Any, chosen: dict[str, Any]) -> None:
    _erase_their_texts(cursor, chosen)
    _forget_events(cursor, _EVENTS_OF_CALLS, chosen["ids"])


_STEPS = ((_JOBS_IN_ORDER, _JOBS_TO_ERASE, _erase_jobs), (_CALLS_IN_ORDER, _CALLS_TO_ERASE, _erase_calls))


def _erase_their_texts(cursor: Any, calls: dict[str, Any]) -> None:
    for statement in _ERASE_CALLS:
        cursor.execute(statement, calls)


def _forget_events(cursor: Any, query: str, ids: list[UUID]) -> None:
    """With their deliveries, those that wait included."""
    cursor.execute(query, {"names": [str(pk) for pk in ids]})
    WebhookEvent.objects.filter(id__in=[pk for (pk,) in cursor.fetchall()]).delete()


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
