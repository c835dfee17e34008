"""Asking Redis, for all calls that come at one time by one round trip; or this process alone, while Redis is away."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis
from django.conf import settings
from redis.exceptions import NoScriptError, RedisError

from config.foundation.batching import Batcher
from jobs.callpath.connections import connect
from jobs.callpath.limits.local import LocalLimits
from jobs.callpath.limits.scripts import ADMIT, SETTLE, Script
from jobs.callpath.limits.subjects import Kind, Limit, Place, Standing, Subject, Windows

logger = logging.getLogger(__name__)

#: How finely a window is divided. What is taken counts for up to one bucket longer than it should, so that it never
#: does for less: of a limit that is always asked for, at most one per cent stays unused.
BUCKETS = 120
#: No call waits longer for Redis than this, and the next ones do not try for a while.
TIMEOUT_S = 2.0
AWAY_S = 1.0
#: For how long and of how many calls at most settling is tried again: after it their tokens have aged out as they
#: were estimated, and their slots are the sweeper's to free.
UNSETTLED_S = 120.0
MAX_UNSETTLED = 10_000
#: More tokens than any limit allows.
MOST_TOKENS = 2**31
#: In place of the tokens that a call took: the estimate stays.
UNKNOWN = -1

#: Nobody is there, or nobody answers: other than an error that Redis itself answers with.
AWAY = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError, TimeoutError)

Amounts = Sequence[tuple[Limit, int]]


class _Unanswered(Exception):
    """Redis was not asked, because it is away; or it was, has not answered as it should, and may have done it."""

    def __init__(self, *, was_asked: bool) -> None:
        super().__init__("asked in vain" if was_asked else "not asked")
        self.was_asked = was_asked


@dataclass(frozen=True)
class _Asked:
    """Whether a call may be made."""

    call_id: UUID
    amounts: Amounts
    holds_ms: int

    def arguments(self, window: tuple[int, int]) -> tuple[list[str], list[Any]]:
        """The script's keys and arguments."""
        keys = [_ticket(self.call_id), *(limit.key for limit, _ in self.amounts)]
        each = [value for limit, amount in self.amounts for value in (str(limit.kind), limit.most, amount)]
        return keys, [*window, str(self.call_id), self.holds_ms, *each]


class Limiter:
    """One per process and event loop."""

    def __init__(self) -> None:
        self._redis = connect()
        self._window = window_ms()
        width_ms, buckets = self._window
        self._local = LocalLimits(width_s=width_ms / 1000, buckets=buckets)
        self._away_until = 0.0
        #: Calls that are still to be settled: with how many tokens, and until when that is tried.
        self._unsettled: dict[UUID, tuple[int, float]] = {}
        self._settling: asyncio.Task[None] | None = None
        self._ask = Batcher(self._ask_all)
        self._tell = Batcher(self._tell_all)

    async def close(self) -> None:
        """Hang up. What is not settled yet is left to the sweeper."""
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.wait([self._settling])
        await self._redis.aclose()

    async def admit(self, call_id: UUID, subjects: Iterable[Subject], *, tokens: int, holds_s: float) -> Standing:
        """Take a request, so many tokens and a slot from each subject that limits them, or nothing at all.

        The slot is free again when the call is settled, at the latest after `holds_s`. Asking again for the same call
        takes nothing more. Without limits nobody is asked. Never raises: while Redis is away this process decides
        alone, as if it were the only one.
        """
        takes = {Kind.REQUESTS: 1, Kind.TOKENS: min(tokens, MOST_TOKENS), Kind.CALLS: 1}
        amounts = [(limit, takes[limit.kind]) for subject in subjects for limit in subject.limits()]
        if not amounts:
            return Standing()
        try:
            answer = _checked(await self._ask(_Asked(call_id, amounts, round(holds_s * 1000))))
        except _Unanswered as error:
            standing = self._local.admit(amounts, now=time.monotonic())
            if standing.refused_by is not None and error.was_asked:
                # There will be no such call, but Redis may have admitted it.
                self._settle_later(call_id, 0)
            return standing
        return _standing([limit for limit, _ in amounts], answer)

    async def settle(self, call_id: UUID, *, tokens: int | None) -> Windows:
        """Free the slots of an admitted call, and count the tokens that it took instead of the estimate.

        None: nobody knows, and the estimate stays. Returns how the windows of its tokens are then, where that is heard.
        Whoever comes second, or is mistaken, changes nothing. Never raises: while Redis is away, it is tried again
        beside.
        """
        taken = UNKNOWN if tokens is None else tokens
        windows = await self._settled(call_id, taken)
        if windows is None:
            self._settle_later(call_id, taken)
        return windows or {}

    async def _settled(self, call_id: UUID, tokens: int) -> Windows | None:
        """None: it is not."""
        try:
            answer = _checked(await self._tell((call_id, tokens)))
        except _Unanswered:
            return None
        figures = zip(answer[::3], answer[1::3], answer[2::3], strict=True)
        return {key.decode(): (used, reset_ms / 1000) for key, used, reset_ms in figures}

    def _settle_later(self, call_id: UUID, tokens: int) -> None:
        if len(self._unsettled) >= MAX_UNSETTLED:
            logger.warning("call %s stays counted as it was estimated", call_id)
            return
        self._unsettled[call_id] = (tokens, time.monotonic() + UNSETTLED_S)
        if self._settling is None or self._settling.done():
            self._settling = asyncio.create_task(self._go_on_settling())

    async def _go_on_settling(self) -> None:
        while self._unsettled:
            await asyncio.sleep(AWAY_S)
            tried = list(self._unsettled.items())
            settled = await asyncio.gather(*(self._settled(call_id, tokens) for call_id, (tokens, _) in tried))
            for (call_id, (_, until)), windows in zip(tried, settled, strict=True):
                if windows is not None:
                    del self._unsettled[call_id]
                elif time.monotonic() > until:
                    logger.warning("call %s stays counted as it was estimated", call_id)
                    del self._unsettled[call_id]

    async def _ask_all(self, asked: list[_Asked]) -> list[Any]:
        return await self._run(ADMIT, [one.arguments(self._window) for one in asked])

    async def _tell_all(self, settled: list[tuple[UUID, int]]) -> list[Any]:
        return await self._run(SETTLE, [settling(self._window, call_id, tokens) for call_id, tokens in settled])

    async def _run(self, script: Script, calls: list[tuple[list[str], list[Any]]]) -> list[Any]:
        """An answer for each: an error where that one was refused, which is no trouble of the others'.

        Raises _Unanswered.
        """
        if time.monotonic() < self._away_until:
            raise _Unanswered(was_asked=False)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answers = await self._pipelined(script, calls)
                if any(isinstance(answer, NoScriptError) for answer in answers):
                    await self._redis.script_load(script.text)
                    # Should one of them have run all the same: to ask or to tell it again changes nothing.
                    answers = await self._pipelined(script, calls)
            for answer in answers:
                if isinstance(answer, AWAY):
                    raise answer
        except AWAY as error:
            logger.warning("limits are this process's alone for a while: %r", error)
            self._away_until = time.monotonic() + AWAY_S
            raise _Unanswered(was_asked=True) from error
        except RedisError as error:
            answers = [error] * len(calls)
        if refused := [answer for answer in answers if isinstance(answer, Exception)]:
            logger.warning("Redis refused %d of %d questions about limits: %r", len(refused), len(calls), refused[0])
        return answers

    async def _pipelined(self, script: Script, calls: list[tuple[list[str], list[Any]]]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for keys, arguments in calls:
                pipeline.evalsha(script.sha, len(keys), *keys, *arguments)
            return list(await pipeline.execute(raise_on_error=False))


def window_ms() -> tuple[int, int]:
    """A bucket's width in ms, and how many are a window."""
    width = max(round(settings.RATE_LIMIT_WINDOW_S * 1000 / BUCKETS), 1)
    return width, -(-round(settings.RATE_LIMIT_WINDOW_S * 1000) // width)


def _checked(answer: Any) -> Any:
    """The answer. Raises _Unanswered where it is an error."""
    if isinstance(answer, Exception):
        raise _Unanswered(was_asked=True) from answer
    return answer


def _ticket(call_id: UUID) -> str:
    return f"limits:call:{call_id}"


def settling(window: Iterable[int], call_id: UUID, tokens: int) -> tuple[list[str], list[Any]]:
    """SETTLE's keys and arguments."""
    return [_ticket(call_id)], [*window, str(call_id), min(tokens, MOST_TOKENS)]


def _standing(limits: Sequence[Limit], answer: Sequence[int]) -> Standing:
    refused_by, wait_ms, *figures = answer
    places = tuple(
        Place(limit, remaining, reset_ms / 1000)
        for limit, remaining, reset_ms in zip(limits, figures[::2], figures[1::2], strict=True)
    )
    if not refused_by:
        return Standing(places)
    return Standing(places, refused_by=limits[refused_by - 1], retry_after_s=None if wait_ms < 0 else wait_ms / 1000)
