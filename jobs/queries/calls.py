"""Calls by id and by job."""

from typing import Any
from uuid import UUID

from django.db.models import Count, OuterRef, QuerySet, Subquery

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


def with_position(attempts: QuerySet[Attempt]) -> QuerySet[Any]:
    """Attempts with `position`: 1 for the model that was asked first, 2 for the first fallback, and so on.

    A model that is asked once more has the position that it had before.
    """
    same_call = Attempt.objects.filter(call_id=OuterRef("call_id"))
    first_try = same_call.filter(model_name=OuterRef("model_name")).order_by("sequence").values("sequence")[:1]
    until_then = same_call.filter(sequence__lte=OuterRef("first_try")).order_by().values("call_id")
    position = until_then.annotate(models=Count("model_name", distinct=True)).values("models")
    return attempts.annotate(first_try=Subquery(first_try)).annotate(position=Subquery(position))


def position_text(position: int) -> str:
    """As people call it."""
    return "first choice" if position == 1 else f"fallback {position - 1}"
