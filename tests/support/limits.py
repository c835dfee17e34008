"""Asking the limiter, on an event loop that ends with it."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID, uuid4

from jobs.callpath.limits.limiter import Limiter
from jobs.callpath.limits.subjects import Kind, Standing, Subject

Result = TypeVar("Result")
HOLDS_S = 60.0


def subject(kind: str = "team", **limits: Any) -> Subject:
    return Subject(kind, uuid.uuid4().hex, **limits)


def run(work: Callable[[Limiter], Awaitable[Result]]) -> Result:
    async def running() -> Result:
        limiter = Limiter()
        try:
            return await work(limiter)
        finally:
            await limiter.close()

    return asyncio.run(running())


async def admit(limiter: Limiter, *subjects: Subject, tokens: int = 0, call_id: UUID | None = None) -> Standing:
    return await limiter.admit(call_id or uuid4(), subjects, tokens=tokens, holds_s=HOLDS_S)


def left(standing: Standing, kind: Kind) -> int:
    place = standing.tightest(kind)
    assert place is not None
    return place.remaining
