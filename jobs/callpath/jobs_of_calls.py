"""What a reply says of a job that was opened for its call."""

from typing import Any
from uuid import UUID

from jobs.models import Call
from jobs.queries.completion import Completion, completion


def job_part(ended: Completion) -> dict[str, Any]:
    """`Reply.job`: what the call's end did to its job."""
    return {
        "job_id": str(ended.job_id),
        "status": ended.status,
        "total_cost_usd": format(ended.total_cost_usd, "f"),
        "credit_applied": ended.credit_applied,
        "credits_remaining": ended.credits_remaining,
    }


def job_of_call(call_id: UUID) -> dict[str, Any] | None:
    """The same for an earlier call, as it is now; None for one that was made directly.

    Where the job has not ended, nobody knows yet what it costs.
    """
    job_id = Call.objects.values_list("job_id", flat=True).get(id=call_id)
    if job_id is None:
        return None
    ended = completion(job_id=job_id, team_pk=None)
    return job_part(ended) if ended.completed_at else {"job_id": str(job_id), "status": ended.status}
