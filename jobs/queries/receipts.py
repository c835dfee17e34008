"""The receipt of a job: what was called, what fallbacks rescued, what was charged, and from what."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.models import CreditHold, GrantDraw, LedgerEntry
from jobs.errors import JobNotFound
from jobs.models import Attempt, Call, Job
from jobs.queries.calls import position_text, with_position
from jobs.queries.completion import calls_of

#: Calls whose attempts are listed one by one; a receipt of more would be a book.
MOST_CALLS = 500


@dataclass(frozen=True)
class AttemptLine:
    """One model that was asked, and how far the call had fallen back by then."""

    sequence: int
    model_name: str
    position: int
    outcome: str
    cause: str
    http_status: int | None
    latency_ms: int
    tokens: int
    cost_usd: Decimal | None

    @property
    def place(self) -> str:
        """In words."""
        return position_text(self.position)

    @property
    def cost_text(self) -> str:
        """Unknown is not zero."""
        return "unknown" if self.cost_usd is None else f"{self.cost_usd:f}"


@dataclass
class CallLine:
    """A call with what was tried for it."""

    call: Call
    attempts: list[AttemptLine] = field(default_factory=list)

    @property
    def cost_text(self) -> str:
        """Exactly."""
        return f"{self.call.cost_usd:f}"

    @property
    def is_rescued(self) -> bool:
        """Whether it was answered although an attempt had failed: by a fallback, or by the same model asked again."""
        return self.call.state == Call.State.SUCCEEDED and len(self.attempts) > 1

    @property
    def answered_by(self) -> str:
        """From which place of its group's list the answer came."""
        answers = [one for one in self.attempts if one.outcome == Attempt.Outcome.SUCCEEDED]
        return answers[-1].place if answers else ""


@dataclass(frozen=True)
class Receipt:
    """Credits are whole and signed as in the ledger; balances are remaining credits."""

    job: Job
    lines: Sequence[CallLine]
    #: How many calls there are besides `lines`.
    further_calls: int
    total_cost_usd: Decimal
    total_tokens: int
    hold: CreditHold | None
    entry: LedgerEntry | None
    draws: Sequence[GrantDraw]

    @property
    def metadata(self) -> str:
        """The client's own, as JSON."""
        return json.dumps(self.job.metadata, ensure_ascii=False, indent=2)

    @property
    def cost_text(self) -> str:
        """Exactly."""
        return f"{self.total_cost_usd:f}"

    @property
    def rescued(self) -> int:
        """Calls that were answered although an attempt had failed."""
        return sum(line.is_rescued for line in self.lines)

    @property
    def charged(self) -> int:
        """Credits."""
        return -self.entry.amount if self.entry else 0

    @property
    def balance_after(self) -> int | None:
        """Right after the job's end; None while it is open."""
        if self.entry is not None:
            return self.entry.balance_after
        return self.hold.balance_after if self.hold else None

    @property
    def balance_before(self) -> int | None:
        """Right before its end."""
        return None if self.balance_after is None else self.balance_after + self.charged

    @property
    def why_not_charged(self) -> str:
        """In words, for a job without a charge."""
        if self.entry is not None:
            return ""
        match self.hold.state if self.hold else None:
            case CreditHold.State.HELD:
                return "The job is open: its credit is held, and not charged yet."
            case CreditHold.State.EXPIRED:
                return "The job was given up when its time was over: its credit went back."
            case CreditHold.State.RELEASED if self.job.status == Job.Status.COMPLETED:
                return "A call failed and was not made again: the job's credit went back."
            case CreditHold.State.RELEASED:
                return "The job failed: its credit went back."
        return "No credit was held for it."


def receipt(job_id: UUID) -> Receipt:
    """From the job's calls, its hold, its entry and the entry's draws. Raises JobNotFound."""
    job = Job.objects.filter(id=job_id).select_related("team__organization", "virtual_key").first()
    if job is None:
        raise JobNotFound
    calls = calls_of(job_id)
    lines = {call.id: CallLine(call) for call in calls[:MOST_CALLS]}
    for attempt in with_position(Attempt.objects.filter(call_id__in=lines)).order_by("call_id", "sequence"):
        lines[attempt.call_id].attempts.append(_line(attempt))
    entry = LedgerEntry.objects.filter(job_id=job_id, kind=LedgerEntry.Kind.DEDUCTION).first()
    return Receipt(
        job=job,
        lines=list(lines.values()),
        further_calls=len(calls) - len(lines),
        total_cost_usd=sum((call.cost_usd for call in calls), Decimal(0)),
        total_tokens=sum(call.tokens for call in calls),
        hold=CreditHold.objects.filter(job_id=job_id).first(),
        entry=entry,
        draws=draws_of(entry),
    )


def _line(attempt: Any) -> AttemptLine:
    return AttemptLine(
        sequence=attempt.sequence,
        model_name=attempt.model_name,
        position=attempt.position,
        outcome=attempt.outcome,
        cause=attempt.cause,
        http_status=attempt.http_status,
        latency_ms=attempt.latency_ms,
        tokens=attempt.prompt_tokens + attempt.completion_tokens,
        cost_usd=attempt.cost_usd,
    )


def draws_of(entry: LedgerEntry | None) -> list[GrantDraw]:
    """What the entry took of which grant."""
    if entry is None:
        return []
    return list(GrantDraw.objects.filter(entry_id=entry.pk).select_related("grant").order_by("id"))
