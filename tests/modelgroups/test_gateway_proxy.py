"""Asking a model at LiteLLM Proxy: its cost counts, its refusals become our causes."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from modelgroups.gateway import chat, proxy_calls
from modelgroups.gateway.errors import AttemptFailed, Cause
from modelgroups.gateway.types import ChatAnswer, ChatRequest, ProxyRoute, Target
from tests.support.coroutines import run
from tests.support.fake_proxy import ANSWER_COST_USD, FakeProxy, fake_proxy, hash_of

KEY = "sk-platform-0123456789"
REQUEST = ChatRequest(messages=[{"role": "user", "content": "Hello"}], parameters={"temperature": 0.5})


@pytest.fixture
def proxy() -> Iterator[FakeProxy]:
    """With a team whose key may ask one model."""
    with fake_proxy() as running:
        limits = {"models": ["gpt-4o"], "max_budget": 10.0, "blocked": False, "spend": 0.0}
        running.teams["t"] = {"team_id": "t", **limits}
        running.keys[hash_of(KEY)] = {"token": hash_of(KEY), "team_id": "t", "expires": None, **limits}
        yield running


@pytest.fixture
def target(proxy: FakeProxy) -> Target:
    """Its own price and its provider's key and headers are for when it is asked directly."""
    config = {"input_cost_per_token": 1, "output_cost_per_token": 1, "extra_headers": {"x-secret": "1"}}
    return Target("gpt-4o", config, "sk-provider", proxy=ProxyRoute(proxy.url, KEY, is_in_step=True))


def ask(target: Target) -> ChatAnswer:
    async def asking() -> ChatAnswer:
        try:
            return await chat.ask(target, REQUEST, timeout_s=10)
        finally:
            await chat.close()

    return run(asking)


def failure(target: Target) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as caught:
        ask(target)
    return caught.value


def test_the_proxys_cost_counts(target: Target) -> None:
    answer = ask(target)
    assert answer.content == "Here is the analysis."
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 7)
    assert answer.usage.cost_usd == Decimal(str(ANSWER_COST_USD))


@pytest.mark.parametrize("said", [None, "0", "0.0", 0, "none", "nan", "-1", "inf"])
def test_where_it_says_nothing_sensible_our_price_does(said: Any) -> None:
    assert proxy_calls.cost_usd({"cost": said}) is None


def test_it_is_told_neither_to_retry_nor_to_fall_back_and_no_secret_of_the_model(
    proxy: FakeProxy, target: Target
) -> None:
    seen: list[Any] = []
    answer = proxy.answer

    def watching(*arguments: Any) -> Any:
        seen.append(arguments)
        return answer(*arguments)

    proxy.answer = watching  # type: ignore[assignment, method-assign]
    ask(target)
    (_, path, _, body, key) = seen[0]
    assert (path, key, body["model"]) == ("/v1/chat/completions", KEY, "gpt-4o")
    assert (body["num_retries"], body["disable_fallbacks"], body["temperature"]) == (0, True, 0.5)
    assert "sk-provider" not in str(body)


@pytest.mark.parametrize(("is_in_step", "cause"), [(True, Cause.BUDGET_EXHAUSTED), (False, Cause.NOT_IN_STEP)])
def test_a_spent_budget_ends_the_call_unless_more_is_on_its_way(
    proxy: FakeProxy, target: Target, is_in_step: bool, cause: Cause
) -> None:
    proxy.keys[hash_of(KEY)]["max_budget"] = 0
    error = failure(replace(target, proxy=ProxyRoute(proxy.url, KEY, is_in_step)))
    assert (error.cause, error.can_fall_back) == (cause, not is_in_step)
    assert "budget" in str(error) or not is_in_step


def test_what_the_proxy_does_not_know_yet_may_be_asked_again(proxy: FakeProxy, target: Target) -> None:
    for spoilt in ({"models": ["other"]}, {"blocked": True}, {"expires": "2020-01-01T00:00:00+00:00"}):
        proxy.keys[hash_of(KEY)] |= spoilt
        error = failure(target)
        assert (error.cause, error.retry_after_s) == (Cause.NOT_IN_STEP, proxy_calls.IN_STEP_AFTER_S)
    proxy.keys.clear()
    assert failure(target).cause == Cause.NOT_IN_STEP


@pytest.mark.parametrize(
    ("status", "error", "cause"),
    [
        (401, {"type": "authentication_error"}, Cause.AUTHENTICATION),
        (400, {"type": "invalid_request_error", "message": "/x: Invalid model name passed in model=y"}, Cause.MODEL_NOT_FOUND),
        (400, {"type": "invalid_request_error", "message": "litellm.ContextWindowExceededError: z"}, Cause.CONTEXT_WINDOW),
        (400, {"type": "invalid_request_error", "message": "other"}, Cause.REQUEST_REFUSED),
        (429, {"type": "throttling_error"}, Cause.RATE_LIMITED),
        (500, {"type": "internal_server_error"}, Cause.PROVIDER_ERROR),
        (502, None, Cause.PROVIDER_ERROR),
    ],
)  # fmt: skip
def test_a_providers_refusal_is_no_refusal_of_the_proxys(status: int, error: Any, cause: Cause) -> None:
    route = ProxyRoute("http://127.0.0.1:1", KEY, is_in_step=False)
    assert proxy_calls.failure(status, error, route, retry_after_s=None).cause == cause


def test_a_proxy_that_is_away_is_unreachable(target: Target) -> None:
    error = failure(replace(target, proxy=ProxyRoute("http://127.0.0.1:9", KEY, is_in_step=True)))
    assert error.cause == Cause.UNREACHABLE
