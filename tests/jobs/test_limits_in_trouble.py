"""Limits while Redis is away, answers with an error, or loses an answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.conf import settings as django_settings

from jobs.callpath.connections import connect
from jobs.callpath.limits import limiter as module
from jobs.callpath.limits.limiter import AWAY_S, Limiter
from jobs.callpath.limits.scripts import ADMIT_TEXT
from jobs.callpath.limits.subjects import Kind, Standing, Subject
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


def slots(server: Any, limited: Subject) -> int:
    """How many are taken."""
    return int(server.zcard(f"limits:team:{limited.id}:calls"))


async def until_all_is_settled(limiter: Limiter) -> None:
    for _ in range(100):
        if not limiter._unsettled:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(limiter._unsettled)


async def lose_redis(limiter: Limiter, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nobody answers."""
    await limiter._redis.aclose()
    with monkeypatch.context() as patch:
        patch.setattr(django_settings, "REDIS_URL", "redis://127.0.0.1:1/0")
        limiter._redis = connect()


async def find_redis(limiter: Limiter) -> None:
    await limiter._redis.aclose()
    limiter._redis = connect()


def test_what_could_not_be_settled_is_once_redis_is_back(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    team, calls = subject(calls_in_flight=3, tokens_per_minute=1000), [uuid4() for _ in range(3)]

    async def work(limiter: Limiter) -> Standing:
        for call in calls:
            assert (await admit(limiter, team, call_id=call, tokens=300)).refused_by is None
        await lose_redis(limiter, monkeypatch)
        for call in calls:
            await limiter.settle(call, tokens=10)
        # Longer than until it is tried for the first time.
        await asyncio.sleep(AWAY_S + 0.5)
        assert slots(server, team) == 3
        await find_redis(limiter)
        await until_all_is_settled(limiter)
        assert slots(server, team) == 0
        return await admit(limiter, team)

    assert left(run(work), Kind.TOKENS) == 970


def test_what_cannot_be_settled_is_not_tried_for_ever(
    server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_UNSETTLED", 2)
    monkeypatch.setattr(module, "UNSETTLED_S", 0.0)

    async def work(limiter: Limiter) -> None:
        await lose_redis(limiter, monkeypatch)
        for _ in range(3):
            await limiter.settle(uuid4(), tokens=1)
        assert len(limiter._unsettled) == 2
        await until_all_is_settled(limiter)

    run(work)
    assert caplog.text.count("stays counted as it was estimated") == 3


def test_a_call_that_redis_admitted_unheard_and_the_process_refuses_is_given_back(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = subject(requests_per_minute=1, calls_in_flight=1, tokens_per_minute=1000)

    # So that it does it the first time that it is asked.
    server.script_load(ADMIT_TEXT)

    async def work(limiter: Limiter) -> Standing:
        await lose_redis(limiter, monkeypatch)
        assert (await admit(limiter, team, tokens=10)).refused_by is None
        await find_redis(limiter)
        await asyncio.sleep(AWAY_S)
        with monkeypatch.context() as patch:
            patch.setattr(limiter, "_pipelined", losing_answers(limiter._pipelined))
            refused = await admit(limiter, team, tokens=10)
        assert refused.refused_by is not None
        assert slots(server, team) == 1
        await until_all_is_settled(limiter)
        assert slots(server, team) == 0
        return await admit(limiter, team, tokens=10)

    # Its tokens are given back, too. A request it was.
    after = run(work)
    assert (left(after, Kind.TOKENS), left(after, Kind.CALLS), left(after, Kind.REQUESTS)) == (1000, 1, 0)


def losing_answers(ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Redis does what it is asked, and the line breaks before it can say so."""

    async def asked(*arguments: Any) -> Any:
        await ask(*arguments)
        raise ConnectionResetError

    return asked


def test_what_redis_refuses_of_one_is_no_trouble_of_the_others(server: Any) -> None:
    """They came at one time, so by one round trip."""
    broken, sound = subject(requests_per_minute=1), subject(calls_in_flight=1)
    server.set(f"limits:team:{broken.id}:requests", "no window")

    async def work(limiter: Limiter) -> list[list[bool]]:
        rounds = [await asyncio.gather(admit(limiter, broken), admit(limiter, sound)) for _ in range(2)]
        return [[standing.refused_by is None for standing in both] for both in rounds]

    # The one is held to this process's limits; the other to Redis's, because only there calls in flight are counted.
    assert run(work) == [[True, True], [False, False]]
