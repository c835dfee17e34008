"""The fallback policy: which model is asked when, how often, and what ends a call (contract, "Fallbacks").

It knows neither the provider nor the database: `send` asks one model, and what comes out is data.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from django.conf import settings

from jobs.errors import Failure
from modelgroups.gateway.errors import REQUESTS_OWN_FAULT, AttemptFailed, Cause
from modelgroups.gateway.types import ChatAnswer, Target

#: Asks one model within so many seconds. Raises AttemptFailed; any other exception is a bug.
Send = Callable[[Target, float], Awaitable[ChatAnswer]]


@dataclass(frozen=True)
class AttemptRecord:
    """One row of jobs_attempt."""

    sequence: int
    model_name: str
    outcome: str
    latency_ms: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Decimal | None
    started_at: datetime
    cause: str = ""
    error_class: str = ""
    http_status: int | None = None
    usage_is_estimated: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a call ended: with an answer, or with the cause of its failure."""

    attempts: list[AttemptRecord]
    answer: ChatAnswer | None = None
    cause: str = ""

    @property
    def state(self) -> str:
        """The call's final state."""
        if self.answer is not None:
            return "succeeded"
        return "cancelled" if self.cause == Cause.CLIENT_GONE else "failed"


async def try_in_order(models: Sequence[Target], send: Send, *, deadline: float) -> Outcome:
    """Ask one model after the other until one answers.

    `deadline` is a time.monotonic(). An error that is the request's own ends the call at once.
    """
    attempts: list[AttemptRecord] = []
    cause: str = Failure.NO_MODELS
    for sequence, target in enumerate(models, start=1):
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            cause = Failure.DEADLINE
            break
        timeout_s = min(float(target.config.get("timeout", settings.ATTEMPT_TIMEOUT_S)), remaining_s)
        attempt, result = await _attempt(target, send, sequence=sequence, timeout_s=timeout_s)
        attempts.append(attempt)
        if isinstance(result, ChatAnswer):
            return Outcome(attempts=attempts, answer=result)
        cause = result.cause
        if cause in REQUESTS_OWN_FAULT or not result.can_fall_back:
            break
    return Outcome(attempts=attempts, cause=cause)


async def _attempt(
    target: Target, send: Send, *, sequence: int, timeout_s: float
) -> tuple[AttemptRecord, ChatAnswer | AttemptFailed]:
    """One attempt: its record, and what came of it."""
    started_at, started = datetime.now(UTC), time.monotonic()
    result: ChatAnswer | AttemptFailed
    try:
        result = await send(target, timeout_s)
    except AttemptFailed as error:
        result = error
    failed = result if isinstance(result, AttemptFailed) else None
    record = AttemptRecord(
        sequence=sequence,
        model_name=target.model_name,
        outcome="failed" if failed else "succeeded",
        latency_ms=milliseconds_since(started),
        prompt_tokens=result.usage.prompt_tokens,
        completion_tokens=result.usage.completion_tokens,
        cost_usd=result.usage.cost_usd,
        started_at=started_at,
        cause=failed.cause if failed else "",
        error_class=failed.error_class if failed else "",
        http_status=failed.http_status if failed else None,
        usage_is_estimated=result.usage.is_estimated,
    )
    return record, result


def milliseconds_since(started: float) -> int:
    """How long ago a time.monotonic() was."""
    return round((time.monotonic() - started) * 1000)
