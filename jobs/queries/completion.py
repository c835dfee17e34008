"""A job's end: what `complete` answers, and what decides about the charge."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from uuid import UUID

from billing.ledger import EndedHold
from billing.models import CreditHold
from jobs.errors import JobNotFound
from jobs.models import Call, Job
from jobs.queries.jobs import with_hold


@dataclass(frozen=True)
class Completion:
    """The same whenever it is asked for.

    A call that had not ended when the job did (`Call.is_late`, or still open) is listed but not in the sums;
    `GET job` shows what became of it.
    """

    job_id: UUID
    status: str
    completed_at: datetime | None
    calls: Sequence[Call]
    credit_applied: bool = False
    credits_remaining: int | None = None

    @property
    def ended_calls(self) -> list[Call]:
        """Calls that had ended before the job did."""
        return [call for call in self.calls if is_part_of_completion(call)]

    @property
    def running_calls(self) -> int:
        """How many calls had not."""
        return len(self.calls) - len(self.ended_calls)

    @property
    def successful_calls(self) -> int:
        """Calls that were answered."""
        return sum(call.state == Call.State.SUCCEEDED for call in self.ended_calls)

    @property
    def failed_calls(self) -> int:
        """Failed and interrupted calls that count: one of them, and the job is not charged."""
        return sum(call.counts_as_failed and not self._is_superseded(call) for call in self.ended_calls)

    @property
    def superseded_calls(self) -> int:
        """Unsuccessful calls that another call was made for instead (`retry_of`)."""
        return sum(self._is_superseded(call) for call in self.ended_calls)

    @property
    def cancelled_calls(self) -> int:
        """Streams that their client left, and did not ask for again."""
        return sum(call.state == Call.State.CANCELLED and not self._is_superseded(call) for call in self.ended_calls)

    @property
    def total_tokens(self) -> int:
        """All tokens of the ended calls."""
        return sum(call.tokens for call in self.ended_calls)

    @property
    def total_cost_usd(self) -> Decimal:
        """What the ended calls cost, failed attempts included."""
        return sum((call.cost_usd for call in self.ended_calls), Decimal(0))

    @property
    def avg_latency_ms(self) -> int:
        """The mean over the ended calls; 0 where there are none."""
        latencies_ms = [call.latency_ms or 0 for call in self.ended_calls]
        return round(sum(latencies_ms) / len(latencies_ms)) if latencies_ms else 0

    @cached_property
    def _retried(self) -> set[UUID]:
        """Made once: a job may have thousands of calls."""
        return {call.retry_of_id for call in self.calls if call.retry_of_id is not None}

    def _is_superseded(self, failed: Call) -> bool:
        return failed.id in self._retried

    def settled(self, hold: EndedHold) -> "Completion":
        """The same once its hold has ended."""
        return replace(self, credit_applied=hold.state == "captured", credits_remaining=hold.credits_remaining)


def is_part_of_completion(call: Call) -> bool:
    """Whether the call had ended before its job did."""
    return call.has_ended and not call.is_late


def calls_of(job_id: UUID) -> list[Call]:
    """A job's calls in the order in which they were made."""
    return list(Call.objects.filter(job_id=job_id).order_by("created_at", "id"))


def completion(*, job_id: UUID, team_pk: int | None) -> Completion:
    """The completion of a job, whether or not it has ended. `team_pk` None: any team's. Raises JobNotFound."""
    jobs = with_hold(Job.objects.filter(id=job_id))
    job = (jobs if team_pk is None else jobs.filter(team_id=team_pk)).first()
    if job is None:
        raise JobNotFound
    return Completion(
        job_id=job.id,
        status=job.status,
        completed_at=job.ended_at,
        calls=calls_of(job_id),
        credit_applied=job.hold_state == CreditHold.State.CAPTURED,
        credits_remaining=job.hold_balance_after,
    )
