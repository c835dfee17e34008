"""Limits while Redis is away, answers with an error, or loses an answer."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.conf import settings as django_settings

from jobs.callpath.connections import connect
from jobs.callpath.limits.limiter import AWAY_S, Limiter
from jobs.callpath.limits.subjects import Kind, Standing
from tests.support.limits import admit, left, run, subject


@pytest.fixture
def server() -> Iterator[Any]:
    with redis.Redis.from_url(django_settings.REDIS_URL) as client:
        yield client


def test_while_redis_is_away_each_process_holds_to_the_whole_limit(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    team = subject(requests_per_minute=3, tokens_per_minute=10_000, calls_in_flight=1)

    async def work(limiter: Limiter) -> list[Standing]:
        standings = [await admit(limiter, team, tokens=100) for _ in range(5)]
        await limiter.settle(uuid4(), tokens=1)
        return standings

    for _ in range(2):
        standings = run(work)
        assert [standing.refused_by is None for standing in standings] == [True, True, True, False, False]
        assert left(standings[2], Kind.TOKENS) == 9_700
        refused = standings[-1]
        assert refused.retry_after_s is not None
        assert 0 < refused.retry_after_s <= 60.5
    large = run(lambda limiter: admit(limiter, team, tokens=10_001))
    assert large.refused_by is not None
    assert large.retry_after_s is None


def test_a_redis_that_is_back_is_asked_again(settings: Any) -> None:
    real, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:1/0"
    team = subject(calls_in_flight=1)

    async def work(limiter: Limiter) -> list[bool]:
        passed = [(await admit(limiter, team)).refused_by is None for _ in range(2)]
        await limiter._redis.aclose()
        settings.REDIS_URL = real
        limiter._redis = connect()
        await asyncio.sleep(AWAY_S + 0.1)
        return [*passed, *[(await admit(limiter, team)).refused_by is None for _ in range(2)]]

    # Slots are not counted while it is away.
    assert run(work) == [True, True, True, False]


def test_what_redis_refuses_of_one_is_no_trouble_of_the_others(server: Any) -> None:
    """They came at one time, so by one round trip."""
    broken, sound = subject(requests_per_minute=1), subject(calls_in_flight=1)
    server.set(f"limits:team:{broken.id}:requests", "no window")

    async def work(limiter: Limiter) -> list[list[bool]]:
        rounds = [await asyncio.gather(admit(limiter, broken), admit(limiter, sound)) for _ in range(2)]
        return [[standing.refused_by is None for standing in both] for both in rounds]

    # The one is held to this process's limits; the other to Redis's, because only there calls in flight are counted.
    assert run(work) == [[True, True], [False, False]]
