"""Calls by id and by job."""

from uuid import UUID

from django.db.models import QuerySet

from jobs.errors import CallNotFound
from jobs.models import Attempt, Call


def get_call(*, job_id: UUID, call_id: UUID) -> Call:
    """A call of a job, with what is kept of its content. Raises CallNotFound."""
    call = Call.objects.filter(id=call_id, job_id=job_id).select_related("content").first()
    if call is None:
        raise CallNotFound(str(call_id))
    return call


def calls_of_job(job_id: UUID) -> QuerySet[Call]:
    """A job's calls, newest first."""
    return Call.objects.filter(job_id=job_id).order_by("-created_at", "-id")


def attempts_of(call_id: UUID) -> list[Attempt]:
    """What was tried for a call, in order. For operators only: it names the models."""
    return list(Attempt.objects.filter(call_id=call_id).order_by("sequence"))
