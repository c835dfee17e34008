"""Which model is asked when: order, retries, rests and weights. `send` is scripted; the live tests ask real servers."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

import pytest

from jobs.callpath.cooldown import MAX_MODELS, CoolDowns, identity
from jobs.callpath.fallback import Fallback, Outcome, weighted
from modelgroups.gateway.errors import AttemptFailed, Cause
from modelgroups.gateway.types import MOST_COST_USD, ChatAnswer, Target, Usage

ANSWER = ChatAnswer(content="Yes.", finish_reason="stop", usage=Usage(1, 1))


def target(name: str, *, priority: int = 0, **config: Any) -> Target:
    return Target(name, config, priority=priority)


def failure(cause: Cause, **more: Any) -> AttemptFailed:
    return AttemptFailed(cause, error_class="Scripted", **more)


class Provider:
    """Answers as it is told: each model by its list, the last of which is repeated."""

    def __init__(self, **script: list[ChatAnswer | Exception]) -> None:
        self.script = defaultdict(lambda: [ANSWER], script)
        self.asked: list[str] = []
        self.timeouts: list[float] = []

    async def send(self, asked: Target, timeout_s: float) -> ChatAnswer:
        self.asked.append(asked.model_name)
        self.timeouts.append(timeout_s)
        script = self.script[asked.model_name]
        result = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(result, Exception):
            raise result
        return result


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def announced() -> list[str]:
    return []


@pytest.fixture
def cool_downs(clock: Clock, announced: list[str]) -> CoolDowns:
    return CoolDowns(announced.append, now=clock)


def run(provider: Provider, cool_downs: CoolDowns, *models: Target, deadline_s: float = 30) -> Outcome:
    fallback = Fallback(provider.send, cool_downs, deadline=time.monotonic() + deadline_s)
    return asyncio.run(fallback.run(models))


DOWN = failure(Cause.PROVIDER_ERROR)


def test_models_are_asked_in_order_until_one_answers(cool_downs: CoolDowns) -> None:
    provider = Provider(a=[failure(Cause.TIMEOUT)], b=[failure(Cause.MALFORMED_ANSWER)])
    outcome = run(provider, cool_downs, target("a"), target("b"), target("c", priority=1), target("d", priority=2))

    assert outcome.answer is ANSWER
    assert provider.asked == ["a", "b", "c"]
    assert [(one.sequence, one.model_name, one.outcome) for one in outcome.attempts] == [
        (1, "a", "failed"),
        (2, "b", "failed"),
        (3, "c", "succeeded"),
    ]


def test_a_lone_model_is_asked_again_after_a_pause(cool_downs: CoolDowns) -> None:
    provider = Provider(a=[DOWN, ANSWER])
    started = time.monotonic()
    outcome = run(provider, cool_downs, target("a"))

    assert (outcome.state, [one.sequence for one in outcome.attempts]) == ("succeeded", [1, 2])
    assert time.monotonic() - started >= 0.125


@pytest.mark.parametrize("cause", [Cause.TIMEOUT, Cause.AUTHENTICATION, Cause.MODEL_NOT_FOUND, Cause.MALFORMED_ANSWER])
def test_what_will_not_pass_is_not_tried_again(cool_downs: CoolDowns, cause: Cause) -> None:
    provider = Provider(a=[failure(cause)])

    assert run(provider, cool_downs, target("a")).cause == cause
    assert provider.asked == ["a"]


def test_a_model_that_cannot_even_be_asked_is_one_that_failed(cool_downs: CoolDowns) -> None:
    paid = failure(Cause.MALFORMED_ANSWER, usage=Usage(3, 4, Decimal("0.5")))
    provider = Provider(first=[paid], second=[ValueError("a key with a line's end")])

    outcome = run(provider, cool_downs, target("first"), target("second", priority=1), target("third", priority=2))

    assert outcome.answer is ANSWER
    assert [attempt.cause for attempt in outcome.attempts] == ["malformed_answer", "unexpected", ""]
    assert outcome.attempts[0].cost_usd == Decimal("0.5")


def test_a_cost_is_one_that_can_be_stored(cool_downs: CoolDowns) -> None:
    absurd = ChatAnswer(content="", finish_reason="stop", usage=Usage(1, 1, Decimal(10) ** 12))

    assert run(Provider(first=[absurd]), cool_downs, target("first")).attempts[0].cost_usd == MOST_COST_USD


def test_retries_are_bounded(cool_downs: CoolDowns, settings: Any) -> None:
    settings.CALL_RETRIES = 2
    provider = Provider(a=[DOWN])

    assert run(provider, cool_downs, target("a")).cause == Cause.PROVIDER_ERROR
    assert provider.asked == ["a"] * 3


def test_no_model_is_tried_again_while_another_may_answer(cool_downs: CoolDowns) -> None:
    provider = Provider(a=[DOWN])
    started = time.monotonic()
    run(provider, cool_downs, target("a"), target("b"))

    assert provider.asked == ["a", "b"]
    assert time.monotonic() - started < 0.1


def test_a_provider_s_own_time_is_waited_for(cool_downs: CoolDowns) -> None:
    provider = Provider(a=[failure(Cause.RATE_LIMITED, retry_after_s=0.6), ANSWER])
    started = time.monotonic()

    assert run(provider, cool_downs, target("a")).answer is ANSWER
    assert time.monotonic() - started >= 0.6


def test_a_time_beyond_the_deadline_is_not_waited_for(cool_downs: CoolDowns) -> None:
    provider = Provider(a=[failure(Cause.RATE_LIMITED, retry_after_s=60)])
    started = time.monotonic()

    assert run(provider, cool_downs, target("a"), deadline_s=5).cause == Cause.RATE_LIMITED
    assert time.monotonic() - started < 2
    assert provider.asked == ["a"]


def test_of_two_models_only_the_one_whose_time_has_come_is_asked_again(cool_downs: CoolDowns) -> None:
    provider = Provider(a=[failure(Cause.RATE_LIMITED, retry_after_s=20)], b=[DOWN, ANSWER])

    assert run(provider, cool_downs, target("a"), target("b")).answer is ANSWER
    assert provider.asked == ["a", "b", "b"]


@pytest.mark.parametrize("end", [failure(Cause.REQUEST_REFUSED), failure(Cause.CUT_SHORT, can_fall_back=False)])
def test_some_failures_end_the_call_at_once(cool_downs: CoolDowns, end: AttemptFailed) -> None:
    provider = Provider(a=[end])

    assert run(provider, cool_downs, target("a"), target("b")).cause == end.cause
    assert provider.asked == ["a"]


def test_a_client_that_leaves_cancels_the_call(cool_downs: CoolDowns) -> None:
    provider = Provider(a=[failure(Cause.CLIENT_GONE, can_fall_back=False)])

    assert run(provider, cool_downs, target("a"), target("b")).state == "cancelled"


def test_no_attempt_is_longer_than_what_is_left_of_the_deadline(cool_downs: CoolDowns) -> None:
    provider = Provider()
    run(provider, cool_downs, target("a", timeout=600), deadline_s=3)
    run(provider, cool_downs, target("a", timeout=2), deadline_s=3)

    assert [round(timeout_s, 1) for timeout_s in provider.timeouts] == [3, 2]


def test_past_the_deadline_nobody_is_asked(cool_downs: CoolDowns) -> None:
    provider = Provider()

    assert run(provider, cool_downs, target("a"), deadline_s=-1).cause == "deadline"
    assert provider.asked == []


# Rests


def test_a_model_that_keeps_failing_is_asked_last_for_a_while(
    cool_downs: CoolDowns, clock: Clock, announced: list[str], settings: Any
) -> None:
    a, b = target("a"), target("b")
    for _ in range(settings.COOL_DOWN_AFTER_FAILURES):
        run(Provider(a=[DOWN]), cool_downs, a, b)
    provider = Provider()
    run(provider, cool_downs, a, b)
    clock.time += settings.COOL_DOWN_S + 1
    run(provider, cool_downs, a, b)

    assert provider.asked == ["b", "a"]
    assert len(announced) == 1


def test_one_success_makes_up_for_failures(cool_downs: CoolDowns, announced: list[str], settings: Any) -> None:
    settings.CALL_RETRIES = 0
    for _ in range(3):
        run(Provider(a=[DOWN]), cool_downs, target("a"), target("b"))
        cool_downs.succeeded(target("a"))

    assert announced == []


def test_a_model_that_names_its_time_rests_at_once(cool_downs: CoolDowns, clock: Clock, settings: Any) -> None:
    limited = failure(Cause.RATE_LIMITED, retry_after_s=7)
    run(Provider(a=[limited]), cool_downs, target("a"), target("b"))

    assert cool_downs.is_cooling(target("a"))
    clock.time += 7.5
    assert not cool_downs.is_cooling(target("a"))
    cool_downs.failed(target("a"), failure(Cause.RATE_LIMITED, retry_after_s=3600))
    clock.time += settings.MAX_COOL_DOWN_S + 1
    assert not cool_downs.is_cooling(target("a"))


def test_when_all_rest_they_are_asked_all_the_same(cool_downs: CoolDowns) -> None:
    for name in ("a", "b"):
        cool_downs.failed(target(name), failure(Cause.RATE_LIMITED, retry_after_s=30))
    provider = Provider()

    assert run(provider, cool_downs, target("a"), target("b")).answer is ANSWER
    assert provider.asked == ["a"]


def test_what_is_the_request_s_fault_does_not_count(cool_downs: CoolDowns, settings: Any) -> None:
    for cause in (Cause.REQUEST_REFUSED, Cause.MALFORMED_ANSWER, Cause.CLIENT_GONE, Cause.CUT_SHORT):
        for _ in range(settings.COOL_DOWN_AFTER_FAILURES):
            cool_downs.failed(target("a"), failure(cause))

    assert not cool_downs.is_cooling(target("a"))


def test_other_workers_hear_of_it(cool_downs: CoolDowns, announced: list[str], clock: Clock) -> None:
    other = CoolDowns(announced.append, now=clock)
    cool_downs.failed(target("a"), failure(Cause.RATE_LIMITED, retry_after_s=30))
    other.hear(announced[0].encode())

    assert other.is_cooling(target("a"))
    assert not other.is_cooling(target("a", api_base="https://elsewhere.example"))


@pytest.mark.parametrize("nonsense", [b"", b"\xff", b"[]", b"{}", b'{"model": 1, "until": "soon"}', b"3", b"null"])
def test_nonsense_is_not_heard(cool_downs: CoolDowns, nonsense: bytes) -> None:
    cool_downs.hear(nonsense)

    assert not cool_downs.is_cooling(target("a"))


def test_memory_is_bounded(cool_downs: CoolDowns, clock: Clock) -> None:
    for number in range(MAX_MODELS + 10):
        cool_downs.failed(target(f"m{number}"), DOWN)

    assert len(cool_downs._models) <= MAX_MODELS


def test_a_model_s_identity_shows_no_key() -> None:
    with_key = Target("a", {}, "sk-secret")

    assert "secret" not in identity(with_key)
    assert identity(with_key) != identity(Target("a", {}, "sk-other"))


# Weights


def test_without_weights_the_order_stays() -> None:
    models = [target("a"), target("b"), target("c")]

    assert weighted(models) == models


def test_models_of_one_priority_share_calls_by_weight() -> None:
    models, rng = [target("a", weight=3), target("b")], random.Random(7)
    first = Counter(weighted(models, rng=rng)[0].model_name for _ in range(4000))

    assert 0.73 < first["a"] / 4000 < 0.77


def test_weights_do_not_cross_priorities(cool_downs: CoolDowns) -> None:
    provider = Provider()
    for _ in range(20):
        run(provider, cool_downs, target("a", weight=0.001), target("b", priority=1, weight=1000))

    assert set(provider.asked) == {"a"}
