"""Opening and ending jobs."""

import json
import uuid
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from billing import ledger
from config.foundation.constraints import violated
from config.foundation.errors import InvalidInput
from config.foundation.failpoints import failpoint
from config.foundation.limits import MAX_METADATA_BYTES, is_metadata_too_large
from jobs.errors import CallInProgress, JobAlreadyEnded
from jobs.models import Call, Job
from jobs.models.call import OPEN_STATES
from jobs.queries.completion import Completion, calls_of, completion
from tenancy.errors import TeamSuspended, TeamUserBlocked, UserLimitReached
from tenancy.queries.principals import TeamRef
from tenancy.services import users

#: The rule of the database (jobs' migration user_rules).
CREDITS_OF_USER = "user_keeps_to_his_credits"

FinalStatus = Literal["completed", "failed"]


@dataclass(frozen=True)
class OpenedJob:
    """What a client needs of a new job."""

    job_id: UUID
    status: str
    created_at: datetime


_INSERT_JOB = """
    INSERT INTO jobs_job
        (id, team_id, virtual_key_id, user_id, team_user_id, job_type, status, metadata, error_message, created_at,
         expires_at, ends_with_call)
    SELECT %(job_id)s::uuid, %(team_pk)s::bigint, %(key_id)s::uuid, %(user_id)s::text, {user_pk}, %(job_type)s::text,
         'pending', %(metadata)s::jsonb, '', now(), now() + %(ttl)s::interval, %(ends_with_call)s::bool
    {source}
    RETURNING created_at
"""
#: Job and hold in one statement: a job without its credit set aside cannot exist, not even for a moment.
_OPEN_JOB = f"""
    WITH hold AS ({ledger.PLACE_HOLD})
    {_INSERT_JOB.format(user_pk="NULL", source="")}
"""
#: The same for a user, who is made on first sight. Hold and job both come from his row: there are none if he is
#: blocked, and where it is locked, because he is new, the account is locked after it.
_OPEN_JOB_OF_USER = f"""
    WITH {users.SEE_USER.replace("-- where", "WHERE NOT EXISTS (SELECT FROM known WHERE is_fresh)")},
    who AS (
        SELECT COALESCE(seen.id, known.id) AS id
        FROM (SELECT) AS one LEFT JOIN seen ON true LEFT JOIN known ON true
        WHERE COALESCE(seen.status, known.status) <> 'blocked'
    ),
    hold AS ({ledger.PLACE_HOLD} FROM who)
    {_INSERT_JOB.format(user_pk="who.id", source="FROM who")}
"""  # noqa: S608 (constants of ours, no input)


def open_job(
    *,
    team: TeamRef,
    virtual_key_id: UUID | None,
    job_type: str,
    user_id: str,
    metadata: dict[str, Any],
    ends_with_call: bool = False,
) -> OpenedJob:
    """Open a job and hold one credit for it.

    Raises TeamSuspended, InsufficientCredits, for a user also TeamUserBlocked, UserLimitReached.
    """
    if team.is_suspended:
        raise TeamSuspended(team.team_id)
    job_id = uuid.uuid4()
    parameters: dict[str, Any] = {
        "job_id": job_id,
        "hold_id": uuid.uuid4(),
        "team_pk": team.pk,
        "key_id": virtual_key_id,
        "user_id": user_id,
        "job_type": job_type,
        "metadata": json.dumps(metadata),
        "ttl": timedelta(seconds=settings.JOB_TTL_S if team.job_ttl_s is None else team.job_ttl_s),
        "ends_with_call": ends_with_call,
    }
    try:
        with _savepoint_if_in_transaction(), connection.cursor() as cursor:
            cursor.execute(_OPEN_JOB_OF_USER if user_id else _OPEN_JOB, parameters)
            opened = cursor.fetchone()
    except IntegrityError as error:
        if violated(error) == CREDITS_OF_USER:
            raise UserLimitReached(limit="credits") from error
        raise ledger.translated(error, team_pk=team.pk, required=1) from error
    if opened is None:
        raise TeamUserBlocked
    failpoint("job.opened")
    return OpenedJob(job_id=job_id, status=Job.Status.PENDING, created_at=opened[0])


def _savepoint_if_in_transaction() -> AbstractContextManager[Any]:
    """One statement is a transaction of its own; inside another it needs a savepoint to fail within."""
    return transaction.atomic() if connection.in_atomic_block else nullcontext()


#: Compare and swap: whoever ends the job first wins, and holds its row until commit. Metadata is merged.
_END_JOB = """
    UPDATE jobs_job
    SET status = %(status)s, ended_at = now(), metadata = metadata || %(metadata)s::jsonb,
        error_message = %(error_message)s
    WHERE id = %(job_id)s AND status IN ('pending', 'in_progress')
        AND (%(team_pk)s::bigint IS NULL OR team_id = %(team_pk)s)
    RETURNING job_type, ended_at, metadata
"""


@transaction.atomic
def end_job(
    *,
    job_id: UUID,
    team_pk: int | None,
    status: FinalStatus,
    metadata: dict[str, Any],
    error_message: str,
    actor: str,
) -> Completion:
    """End a job: charge its credit if it completed without a failed call, else give it back.

    Idempotent: the same status again changes nothing and returns the same completion (contract, "Jobs and
    credits"). `team_pk` None is an operator's call on any team's job.
    Raises JobNotFound, JobAlreadyEnded, CallInProgress, InvalidInput (merged metadata too large).
    """
    parameters = {
        "job_id": job_id,
        "team_pk": team_pk,
        "status": status,
        "metadata": json.dumps(metadata),
        "error_message": error_message,
    }
    with connection.cursor() as cursor:
        cursor.execute(_END_JOB, parameters)
        ended = cursor.fetchone()
    failpoint("job.ending")
    if ended is None:
        return _already_ended(job_id=job_id, team_pk=team_pk, status=status)
    job_type, ended_at, merged_metadata = ended
    if is_metadata_too_large(json.loads(merged_metadata)):
        raise InvalidInput(f"is larger than {MAX_METADATA_BYTES} bytes after merging", field="metadata")
    # Read after the update, in a snapshot of its own: by now the row's lock keeps further calls out.
    result = Completion(job_id=job_id, status=status, completed_at=ended_at, calls=calls_of(job_id))
    if status == "completed" and result.running_calls:
        raise CallInProgress(result.running_calls)
    if status == "completed" and result.failed_calls == 0:
        reason = f"Job {job_type} completed successfully"
        hold = ledger.capture_hold(job_id=job_id, reason=reason, actor=actor)
    else:
        hold = ledger.release_hold(job_id=job_id)
    if hold is None:
        raise RuntimeError(f"job {job_id} was open, but its hold had ended")
    failpoint("job.settled")
    return result.settled(hold)


def end_with_call(*, job_id: UUID) -> Completion:
    """End a job that was opened for one call, as that call has ended. Idempotent.

    Raises CallInProgress while one of its calls is open.
    """
    calls = calls_of(job_id)
    if open_calls := [call for call in calls if not call.has_ended]:
        raise CallInProgress(len(open_calls))
    retried = {call.retry_of_id for call in calls}
    unsuccessful = [call for call in calls if call.state != Call.State.SUCCEEDED and call.id not in retried]
    has_succeeded = bool(calls) and not unsuccessful
    return end_job(
        job_id=job_id,
        team_pk=None,
        status="completed" if has_succeeded else "failed",
        metadata={},
        error_message="" if has_succeeded else (unsuccessful[0].error if unsuccessful else "No call was made"),
        actor="create-and-call",
    )


def end_jobs_with_their_calls(*, batch: int = 500) -> int:
    """End the jobs whose one call has ended without ending them: its worker died just then. Returns how many."""
    # The worker itself needs a moment from the one to the other.
    settled = timezone.now() - timedelta(seconds=2)
    left = (
        Job.objects.filter(ended_at=None, ends_with_call=True)
        # Without a call: it was withdrawn, and the process that did it died before it ended the job.
        .filter(Q(calls__ended_at__lt=settled) | Q(calls=None, created_at__lt=settled))
        .exclude(calls__state__in=OPEN_STATES)
        .order_by("created_at")
        .distinct()
        .values_list("id", flat=True)[:batch]
    )
    return sum(_end_if_possible(job_id) for job_id in list(left))


def _end_if_possible(job_id: UUID) -> int:
    try:
        end_with_call(job_id=job_id)
    except (CallInProgress, JobAlreadyEnded):
        # A client has made another call in it, or ended it.
        return 0
    return 1


def _already_ended(*, job_id: UUID, team_pk: int | None, status: FinalStatus) -> Completion:
    result = completion(job_id=job_id, team_pk=team_pk)
    if result.status != status:
        raise JobAlreadyEnded(result.status, f"it cannot become {status}")
    return result


def expire_jobs(*, now: datetime | None = None, batch: int = 500) -> int:
    """Fail jobs past their time-to-live and release their holds; returns how many (the sweeper's work).

    A job with a running call is left until the call has ended, which its deadline makes certain.
    """
    now = now or timezone.now()
    overdue = (
        Job.objects.filter(ended_at=None, expires_at__lte=now)
        .exclude(calls__state__in=OPEN_STATES)
        .order_by("expires_at")
        .values_list("id", flat=True)[:batch]
    )
    return sum(_expire(job_id) for job_id in list(overdue))


@transaction.atomic
def _expire(job_id: UUID) -> int:
    # Skip-locked compare and swap: two sweepers, or a sweeper and a client, never both end the same job.
    job = (
        Job.objects.select_for_update(skip_locked=True, no_key=True)
        .filter(id=job_id, status__in=[Job.Status.PENDING, Job.Status.IN_PROGRESS])
        .first()
    )
    if job is None:
        return 0
    job.status, job.ended_at = Job.Status.FAILED, timezone.now()
    job.error_message = "Job was not completed within its time-to-live"
    job.save(update_fields=["status", "ended_at", "error_message"])
    ledger.release_hold(job_id=job_id, as_state="expired")
    return 1
