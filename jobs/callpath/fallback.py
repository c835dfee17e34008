"""The fallback policy: which model is asked when, how often, and what ends a call (contract, "Fallbacks"; ADR 11).

It knows neither the provider nor the database: `send` asks one model, and what comes out is data.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby

from django.conf import settings

from jobs.callpath.cooldown import CoolDowns
from jobs.errors import Failure
from modelgroups.gateway.errors import REQUESTS_OWN_FAULT, AttemptFailed, Cause
from modelgroups.gateway.types import MOST_COST_USD, ChatAnswer, Target

logger = logging.getLogger(__name__)

#: Asks one model within so many seconds. Raises AttemptFailed; any other exception is a bug, or a model's
#: configuration that nobody thought of: it is logged, and the next model is asked.
Send = Callable[[Target, float], Awaitable[ChatAnswer]]

#: What may be over a moment later. A timeout is not among them: another one would cost as much time again.
PASSING = frozenset({Cause.RATE_LIMITED, Cause.UNREACHABLE, Cause.PROVIDER_ERROR, Cause.CONFLICT, Cause.NOT_IN_STEP})
#: The pause before a model is asked again, doubled each time; half of it is random, so that calls do not come in waves.
FIRST_PAUSE_S = 0.25


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


class Fallback:
    """One call's way through its group's models. `deadline` is a time.monotonic()."""

    def __init__(self, send: Send, cool_downs: CoolDowns, *, deadline: float) -> None:
        self._send = send
        self._cool_downs = cool_downs
        self._deadline = deadline
        self._attempts: list[AttemptRecord] = []

    async def run(self, models: Sequence[Target]) -> Outcome:
        """Ask one model after the other until one answers, and again those whose trouble may have passed.

        An error that is the request's own ends the call at once, and so does one after a stream's first piece.
        """
        cause: str = Failure.NO_MODELS
        asked = self._order(models)
        for turn in range(1 + settings.CALL_RETRIES):
            again: list[tuple[Target, float]] = []
            for target in asked:
                remaining_s = self._remaining_s()
                if remaining_s <= 0:
                    return Outcome(self._attempts, cause=Failure.DEADLINE)
                timeout_s = min(float(target.config.get("timeout", settings.ATTEMPT_TIMEOUT_S)), remaining_s)
                result = await self._attempt(target, timeout_s)
                if isinstance(result, ChatAnswer):
                    return Outcome(self._attempts, answer=result)
                cause = result.cause
                if cause in REQUESTS_OWN_FAULT or not result.can_fall_back:
                    return Outcome(self._attempts, cause=cause)
                if result.cause in PASSING:
                    again.append((target, result.retry_after_s or 0.0))
            asked = await self._pause(again, turn)
        return Outcome(self._attempts, cause=cause)

    def _order(self, models: Sequence[Target]) -> list[Target]:
        """By priority; those that rest come last, because they are better than none."""
        ordered = [target for _, equals in groupby(models, key=_priority) for target in weighted(list(equals))]
        return sorted(ordered, key=self._cool_downs.is_cooling)

    async def _pause(self, again: list[tuple[Target, float]], turn: int) -> list[Target]:
        """Wait until some of these may be asked again; returns them. None where that would be too late."""
        if not again or turn == settings.CALL_RETRIES:
            return []
        backoff_s = FIRST_PAUSE_S * 2**turn * random.uniform(0.5, 1)  # noqa: S311 (no secret)
        pause_s = max(backoff_s, min(wait_s for _, wait_s in again))
        if pause_s >= self._remaining_s():
            return []
        await asyncio.sleep(pause_s)
        return [target for target, wait_s in again if wait_s <= pause_s]

    async def _attempt(self, target: Target, timeout_s: float) -> ChatAnswer | AttemptFailed:
        """Ask once, and put it on record."""
        started_at, started = datetime.now(UTC), time.monotonic()
        result: ChatAnswer | AttemptFailed
        try:
            result = await self._send(target, timeout_s)
            self._cool_downs.succeeded(target)
        except AttemptFailed as error:
            result = error
            self._cool_downs.failed(target, error)
        except Exception as error:
            logger.exception("asking %s failed in a way that it should not", target.model_name)
            result = AttemptFailed(Cause.UNEXPECTED, error_class=type(error).__name__)
        failed = result if isinstance(result, AttemptFailed) else None
        record = AttemptRecord(
            sequence=len(self._attempts) + 1,
            model_name=target.model_name,
            outcome="failed" if failed else "succeeded",
            latency_ms=milliseconds_since(started),
            prompt_tokens=result.usage.prompt_tokens,
            completion_tokens=result.usage.completion_tokens,
            cost_usd=None if result.usage.cost_usd is None else min(result.usage.cost_usd, MOST_COST_USD),
            started_at=started_at,
            cause=failed.cause if failed else "",
            error_class=failed.error_class if failed else "",
            http_status=failed.http_status if failed else None,
            usage_is_estimated=result.usage.is_estimated,
        )
        self._attempts.append(record)
        return result

    def _remaining_s(self) -> float:
        return self._deadline - time.monotonic()


def _priority(target: Target) -> int:
    return target.priority


def weighted(equals: list[Target], *, rng: random.Random | None = None) -> list[Target]:
    """Models of one priority: as they are, or where one has a `weight` in random order, by weight.

    The first of them is one with a probability of its share of all weights (Efraimidis and Spirakis, 2006).
    """
    if not any("weight" in target.config for target in equals):
        return equals
    draw = (rng or random).random
    return sorted(equals, key=lambda target: draw() ** (1 / float(target.config.get("weight", 1))), reverse=True)


def milliseconds_since(started: float) -> int:
    """How long ago a time.monotonic() was."""
    return round((time.monotonic() - started) * 1000)
