"""Limits to requests, tokens and calls in flight: what Redis admits."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from itertools import accumulate
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.conf import settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.callpath.limits.limiter import Limiter
from jobs.callpath.limits.local import LocalLimits
from jobs.callpath.limits.scripts import ADMIT, ADMIT_TEXT, DUE_TEXT, LOOK_AFTER_MS, SETTLE_TEXT, WITH_SLOTS
from jobs.callpath.limits.subjects import Kind, Limit, Standing
from jobs.callpath.limits.sweeping import settle_lost
from tests.support.limits import admit, left, run, subject

WIDTH_MS, BUCKETS = 500, 120
WINDOW_MS = WIDTH_MS * BUCKETS
CLOCK = "limits:test-clock"
#: Apart from those by Redis's own clock.
TEST_SLOTS = "limits:test-slots"


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        yield client
        client.delete(CLOCK, TEST_SLOTS)


# --- The window, by a clock of the test's own ----------------------------------------------------------------


class Scripts:
    """The scripts as they are, but for the clock."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.now_ms = 1_800_000_000_000
        clock = f"cjson.decode(redis.call('GET', '{CLOCK}'))"
        self._admit, self._settle, self._due = (
            server.register_script(text.replace("redis.call('TIME')", clock).replace(WITH_SLOTS, TEST_SLOTS))
            for text in (ADMIT_TEXT, SETTLE_TEXT, DUE_TEXT)
        )

    def admit(self, limits: list[tuple[Limit, int]], call: str | None = None) -> list[int]:
        self._set_clock()
        call = call or uuid.uuid4().hex
        each = [value for limit, amount in limits for value in (str(limit.kind), limit.most, amount)]
        keys = [f"limits:call:{call}", *(limit.key for limit, _ in limits)]
        return list(self._admit(keys=keys, args=[WIDTH_MS, BUCKETS, call, 120_000, *each]))

    def settle(self, call: str, tokens: int) -> list[int]:
        """What is used of the window of its tokens, and in how many ms all of it is there again."""
        self._set_clock()
        _, *figures = self._settle(keys=[f"limits:call:{call}"], args=[WIDTH_MS, BUCKETS, call, tokens]) or [b""]
        return figures

    def due(self) -> list[str]:
        """The calls to look at."""
        self._set_clock()
        return [call.decode() for call in self._due(keys=[TEST_SLOTS], args=[LOOK_AFTER_MS, 1000])]

    def _set_clock(self) -> None:
        self.server.set(CLOCK, json.dumps([str(self.now_ms // 1000), str(self.now_ms % 1000 * 1000)]))


@pytest.fixture
def scripts(server: Any) -> Scripts:
    return Scripts(server)


def limit(kind: Kind, most: int) -> Limit:
    return Limit(f"team:{uuid.uuid4().hex}", kind, most)


STEPS = st.lists(st.tuples(st.integers(0, 25_000), st.integers(1, 6)), min_size=1, max_size=40)


@hypothesis_settings(max_examples=60, deadline=None)
@given(steps=STEPS, most=st.integers(6, 15))
def test_no_window_has_more_than_the_limit_wherever_it_begins(steps: list[tuple[int, int]], most: int) -> None:
    """And nothing is refused that fits, but for what has aged out less than a bucket ago. Retry-After is true."""
    with redis.Redis.from_url(settings.REDIS_URL) as server:
        scripts, limited = Scripts(server), limit(Kind.TOKENS, most)
        local = LocalLimits(width_s=WIDTH_MS / 1000, buckets=BUCKETS)
        times = list(accumulate((step for step, _ in steps), initial=scripts.now_ms))[1:]
        taken: list[tuple[int, int]] = []
        for now_ms, (_, amount) in zip(times, steps, strict=True):
            scripts.now_ms = now_ms
            refused_by, wait_ms, remaining, reset_ms = scripts.admit([(limited, amount)])
            beside = local.admit([(limited, amount)], now=now_ms / 1000)
            if not refused_by:
                taken.append((now_ms, amount))
            else:
                assert sum(a for at, a in taken if at > now_ms - WINDOW_MS - WIDTH_MS) + amount > most
                again_ms = now_ms + wait_ms
                assert sum(a for at, a in taken if at > again_ms - WINDOW_MS) + amount <= most
                assert wait_ms <= WINDOW_MS + WIDTH_MS
            within = [sum(a for at, a in taken if start <= at < start + WINDOW_MS) for start, _ in taken]
            assert max(within, default=0) <= most
            # The process's own limits are the same ones.
            assert (beside.refused_by is not None) == bool(refused_by)
            assert (beside.places[0].remaining, round(beside.places[0].reset_s * 1000)) == (remaining, reset_ms)
            assert refused_by == 0 or round((beside.retry_after_s or 0) * 1000) == wait_ms


def test_after_the_promised_wait_there_is_room_and_just_before_there_is_none(scripts: Scripts) -> None:
    requests = limit(Kind.REQUESTS, 2)
    scripts.admit([(requests, 1)])
    scripts.now_ms += 10_000
    scripts.admit([(requests, 1)])
    scripts.now_ms += 10_000

    refused_by, wait_ms, remaining, reset_ms = scripts.admit([(requests, 1)])

    assert (refused_by, remaining) == (1, 0)
    assert (wait_ms, reset_ms) == (40_500, 50_500)
    scripts.now_ms += wait_ms - 1
    assert scripts.admit([(requests, 1)])[0] == 1
    scripts.now_ms += 1
    assert scripts.admit([(requests, 1)])[:3] == [0, 0, 0]


def test_a_clock_that_is_set_back_lets_nobody_in_twice_and_locks_nobody_out(scripts: Scripts) -> None:
    requests = limit(Kind.REQUESTS, 1)
    scripts.admit([(requests, 1)])
    scripts.now_ms -= 30_000
    assert scripts.admit([(requests, 1)])[0] == 1
    scripts.now_ms -= 10 * WINDOW_MS
    assert scripts.admit([(requests, 1)])[0] == 0


def test_a_slot_is_free_after_its_time_if_nobody_frees_it(scripts: Scripts) -> None:
    calls = limit(Kind.CALLS, 1)
    scripts.admit([(calls, 1)])
    scripts.now_ms += 119_999
    assert scripts.admit([(calls, 1)])[:2] == [1, 1000]
    scripts.now_ms += 1
    assert scripts.admit([(calls, 1)])[0] == 0


def test_a_call_with_a_slot_is_looked_at_now_and_then_until_it_is_settled(scripts: Scripts) -> None:
    scripts.server.delete(TEST_SLOTS)
    call, without = uuid.uuid4().hex, uuid.uuid4().hex
    scripts.admit([(limit(Kind.CALLS, 1), 1), (limit(Kind.CALLS, 2), 1)], call)
    scripts.admit([(limit(Kind.REQUESTS, 1), 1)], without)

    for _ in range(2):
        scripts.now_ms += LOOK_AFTER_MS - 1
        assert scripts.due() == []
        scripts.now_ms += 1
        assert scripts.due() == [call]
        assert scripts.due() == []
    scripts.settle(call, 0)
    scripts.now_ms += LOOK_AFTER_MS
    assert scripts.due() == []


def test_what_was_estimated_too_high_is_given_back_while_it_counts(scripts: Scripts) -> None:
    tokens = limit(Kind.TOKENS, 100)
    scripts.admit([(tokens, 90)], "early")
    scripts.now_ms += WINDOW_MS - 10_000
    scripts.admit([(tokens, 5)])

    assert scripts.settle("early", 20) == [25, 60_500]
    assert scripts.admit([(tokens, 0)])[2] == 75
    assert scripts.settle("early", 0) == []
    assert scripts.admit([(tokens, 0)])[2] == 75
    scripts.now_ms += 11_000
    assert scripts.admit([(tokens, 0)])[2] == 95


def test_what_comes_back_after_it_has_aged_out_is_not_counted_twice(scripts: Scripts) -> None:
    tokens = limit(Kind.TOKENS, 100)
    scripts.admit([(tokens, 90)], "slow")
    scripts.now_ms += WINDOW_MS + 1_000
    scripts.admit([(tokens, 50)])

    assert scripts.settle("slow", 10) == [50, 60_500]
    assert scripts.admit([(tokens, 0)])[2] == 50


def test_tokens_beyond_the_estimate_count_from_when_they_are_known(scripts: Scripts) -> None:
    tokens = limit(Kind.TOKENS, 100)
    scripts.admit([(tokens, 10)], "long")
    scripts.now_ms += 30_000
    assert scripts.settle("long", 140) == [140, 60_500]

    assert scripts.admit([(tokens, 1)])[:3] == [1, 60_500, 0]
    scripts.now_ms += 31_000
    assert scripts.admit([(tokens, 0)])[2] == 0
    scripts.now_ms += 30_000
    assert scripts.admit([(tokens, 0)])[2] == 100


# --- The limiter ----------------------------------------------------------------------------------------------


def test_all_of_a_calls_limits_are_taken_or_none() -> None:
    async def work(limiter: Limiter) -> tuple[Standing, ...]:
        team = subject(requests_per_minute=5, tokens_per_minute=100)
        key = subject("key", requests_per_minute=1, calls_in_flight=5)
        return (
            await admit(limiter, team, key, tokens=30),
            await admit(limiter, team, key, tokens=30),
            await admit(limiter, team, tokens=30),
        )

    first, refused, of_team = run(work)

    assert first.refused_by is None
    assert refused.refused_by is not None
    assert (refused.refused_by.owner, refused.refused_by.kind) == ("key", Kind.REQUESTS)
    assert refused.retry_after_s is not None
    assert 59 < refused.retry_after_s <= 60.5
    # The refused one took neither a request nor a token of the team's.
    assert (left(of_team, Kind.REQUESTS), left(of_team, Kind.TOKENS)) == (3, 40)


def test_of_several_limits_the_tightest_is_told() -> None:
    async def work(limiter: Limiter) -> Standing:
        return await admit(limiter, subject(requests_per_minute=9), subject("key", requests_per_minute=3))

    place = run(work).tightest(Kind.REQUESTS)

    assert place is not None
    assert (place.limit.most, place.remaining) == (3, 2)
    assert 59 < place.reset_s <= 60.5


def test_a_call_larger_than_a_limit_never_fits() -> None:
    async def work(limiter: Limiter) -> Standing:
        return await admit(limiter, subject(tokens_per_minute=100, requests_per_minute=1), tokens=101)

    refused = run(work)

    assert refused.refused_by is not None
    assert (refused.refused_by.kind, refused.retry_after_s) == (Kind.TOKENS, None)
    assert (left(refused, Kind.TOKENS), left(refused, Kind.REQUESTS)) == (100, 1)


def test_slots_are_free_again_once_settled() -> None:
    async def work(limiter: Limiter) -> list[bool]:
        team, call = subject(calls_in_flight=1), uuid4()
        passed = [await admit(limiter, team, call_id=call), await admit(limiter, team)]
        await limiter.settle(call, tokens=None)
        passed.append(await admit(limiter, team))
        # Settling what is settled frees nobody else's.
        await limiter.settle(call, tokens=None)
        passed.append(await admit(limiter, team))
        return [standing.refused_by is None for standing in passed]

    assert run(work) == [True, False, True, False]


def test_the_sweeper_frees_the_slots_of_lost_calls_and_leaves_their_tokens() -> None:
    team, call = subject(calls_in_flight=1, tokens_per_minute=100), uuid4()
    assert run(lambda limiter: admit(limiter, team, call_id=call, tokens=40)).refused_by is None

    settle_lost([call, uuid4()])

    after = run(lambda limiter: admit(limiter, team, tokens=10))
    assert (after.refused_by, left(after, Kind.TOKENS)) == (None, 50)


def test_a_script_s_name_is_computed_once() -> None:
    assert ADMIT.sha is ADMIT.sha


def test_asking_again_for_the_same_call_takes_nothing_more() -> None:
    async def work(limiter: Limiter) -> list[Standing]:
        team, call = subject(requests_per_minute=1, tokens_per_minute=10, calls_in_flight=1), uuid4()
        return [await admit(limiter, team, tokens=10, call_id=call) for _ in range(3)]

    for standing in run(work):
        assert standing.refused_by is None
        assert [place.remaining for place in standing.places] == [0, 0, 0]


@pytest.mark.parametrize("kind", ["requests_per_minute", "tokens_per_minute", "calls_in_flight"])
def test_over_several_processes_exactly_the_limit_is_admitted(kind: str) -> None:
    """Each limiter is a process's: connections and batches of its own."""
    limits: dict[str, Any] = {kind: 50}
    team = subject(**limits)

    async def work() -> int:
        limiters = [Limiter() for _ in range(3)]
        asked = [admit(limiter, team, tokens=1) for _ in range(100) for limiter in limiters]
        standings = await asyncio.gather(*asked)
        for limiter in limiters:
            await limiter.close()
        return sum(standing.refused_by is None for standing in standings)

    assert asyncio.run(work()) == 50


def test_a_wiped_redis_begins_anew(server: Any) -> None:
    async def work(limiter: Limiter) -> list[Standing]:
        team, call = subject(requests_per_minute=2, calls_in_flight=2), uuid4()
        before = await admit(limiter, team, call_id=call)
        server.script_flush()
        server.delete(*server.keys(f"limits:team:{team.id}:*"), f"limits:call:{call}")
        await limiter.settle(call, tokens=1)
        return [before, await admit(limiter, team)]

    for standing in run(work):
        assert (standing.refused_by, left(standing, Kind.REQUESTS)) == (None, 1)


def test_without_limits_nobody_is_asked(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    async def work(limiter: Limiter) -> tuple[Standing, float]:
        began = time.monotonic()
        return await admit(limiter, subject(), subject("key")), time.monotonic() - began

    standing, took_s = run(work)
    assert standing == Standing()
    assert took_s < 0.05
