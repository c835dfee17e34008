"""A user with all that can be stored of him, and where it still is."""

import time

from django.db import connection
from django.utils import timezone

from config.foundation import encryption
from jobs.models import Attempt, Call, CallContent, Job
from jobs.services.erasure import erase_users, request_erasure
from jobs.services.jobs import end_job, open_job
from tenancy.models import IdempotencyRecord, TeamUser
from tenancy.queries.principals import TeamRef
from tests.support.api import Tenant

#: Whatever tells who he was has this in it.
MARK = "bob-the-builder"


def opened(team: Tenant, user_id: str = MARK) -> Job:
    reference = TeamRef(team.team_pk, team.team_id, team.organization_id, is_suspended=False)
    metadata = {"name": user_id}
    job = open_job(team=reference, virtual_key_id=None, job_type="x", user_id=user_id, metadata=metadata)
    return Job.objects.get(pk=job.job_id)


def ended(job: Job) -> None:
    end_job(job_id=job.id, team_pk=None, status="completed", metadata={}, error_message=job.user_id, actor="test")


def called(job: Job | None, user: TeamUser | None, *, state: str = "succeeded") -> Call:
    """A call with all that can be kept of one."""
    now = timezone.now()
    team_pk = job.team_id if job else user.team_id if user else 0
    has_ended = state != "running"
    call = Call.objects.create(
        team_id=team_pk, job=job, team_user=user, model_group="G", purpose=MARK, state=state, prompt_tokens=3,
        cost_usd="0.25" if has_ended else 0, deadline_at=now, ended_at=now if has_ended else None,
    )  # fmt: skip
    if has_ended:
        Attempt.objects.create(
            call=call, sequence=1, model_name="m", outcome="succeeded", latency_ms=1, started_at=now, cost_usd="0.25",
            prompt_tokens=3,
        )  # fmt: skip
    CallContent.objects.create(call=call, request=MARK.encode(), answer=MARK.encode(), published_at=now)
    reply = encryption.encrypt(MARK.encode())
    IdempotencyRecord.objects.create(scope="s", key=str(call.id), request_hash=b"h", reply=reply, claimed_for=call.id)
    return call


def traces() -> list[str]:
    """The tables in which something still says who he was."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            # What is encrypted is compared by its row's being there, below.
            cursor.execute(f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s", [f"%{MARK}%"])  # noqa: S608
            (count,) = cursor.fetchone()
            if count:
                found.append(table)
    return sorted(found)


def begun(team: Tenant, user_id: str = MARK) -> TeamUser:
    return request_erasure(user_pk=TeamUser.objects.get(team_id=team.team_pk, user_id=user_id).pk, actor="test")


def status() -> str:
    return TeamUser.objects.order_by("id").first().status  # type: ignore[union-attr]


def finished(*, within_s: float = 60) -> int:
    """How many are erased in the end: the transactions of tests beside this one are waited for, too."""
    erased, deadline = 0, time.monotonic() + within_s
    while TeamUser.objects.filter(status="erasing").exists() and time.monotonic() < deadline:
        erased += erase_users()
        time.sleep(0.02)
    return erased
