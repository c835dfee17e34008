"""Both ways to ask a model give the same answers, costs and causes: LiteLLM's SDK, and the plain POST."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from modelgroups.gateway import openai_http, sdk
from modelgroups.gateway.errors import AttemptFailed, Cause
from modelgroups.gateway.types import ChatAnswer, ChatRequest, Target
from tests.support.fake_provider import ANSWER, COMPLETION_TOKENS, PROMPT_TOKENS
from tests.support.stack import FakeProvider, fake_provider

Way = Callable[..., Awaitable[ChatAnswer]]
REQUEST = ChatRequest(messages=[{"role": "user", "content": "Hello"}], parameters={"temperature": 0.5})


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProvider]:
    with fake_provider(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(params=[sdk.chat, openai_http.chat], ids=["sdk", "post"])
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


def ask(way: Way, target: Target, *, timeout_s: float = 10) -> ChatAnswer:
    async def asking() -> ChatAnswer:
        try:
            return await way(target, REQUEST, timeout_s=timeout_s)
        finally:
            await openai_http.close()
            # LiteLLM closes its clients when its loop has gone, which is too late for a test.
            await asyncio.sleep(0)

    return asyncio.run(asking())


def target(provider: FakeProvider, behaviour: str, **config: Any) -> Target:
    return Target("gpt-4o-mini", {"api_base": f"{provider.url}/{behaviour}/v1", **config}, "sk-test")


def test_an_answer_has_content_usage_and_litellms_price(way: Way, provider: FakeProvider) -> None:
    answer = ask(way, target(provider, "ok"))

    assert (answer.content, answer.finish_reason) == (ANSWER, "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (PROMPT_TOKENS, COMPLETION_TOKENS)
    price = PROMPT_TOKENS * Decimal("0.00000015") + COMPLETION_TOKENS * Decimal("0.0000006")
    assert answer.usage.cost_usd == price


def test_the_operators_price_comes_before_litellms(way: Way, provider: FakeProvider) -> None:
    priced = target(provider, "ok", input_cost_per_token=0.000001, output_cost_per_token=0)

    assert ask(way, priced).usage.cost_usd == PROMPT_TOKENS * Decimal("0.000001")


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        ("status-400", Cause.REQUEST_REFUSED),
        ("status-401", Cause.AUTHENTICATION),
        ("status-403", Cause.AUTHENTICATION),
        ("status-404", Cause.MODEL_NOT_FOUND),
        ("status-408", Cause.TIMEOUT),
        ("status-409", Cause.CONFLICT),
        ("status-422", Cause.REQUEST_REFUSED),
        ("status-429", Cause.RATE_LIMITED),
        ("status-500", Cause.PROVIDER_ERROR),
        ("status-503", Cause.PROVIDER_ERROR),
        ("content-policy", Cause.CONTENT_POLICY),
        ("context-window", Cause.CONTEXT_WINDOW),
        ("drop", Cause.UNREACHABLE),
        ("timeout", Cause.TIMEOUT),
    ],
)
def test_a_failure_has_the_same_cause_either_way(
    way: Way, provider: FakeProvider, behaviour: str, cause: Cause
) -> None:
    with pytest.raises(AttemptFailed) as caught:
        ask(way, target(provider, behaviour), timeout_s=1 if behaviour == "timeout" else 10)

    assert caught.value.cause == cause


def test_an_answer_without_a_choice_fails_but_has_its_cost(way: Way, provider: FakeProvider) -> None:
    with pytest.raises(AttemptFailed) as caught:
        ask(way, target(provider, "empty"))

    assert caught.value.cause == Cause.MALFORMED_ANSWER
    assert caught.value.usage.prompt_tokens == PROMPT_TOKENS


def test_a_page_of_html_is_a_malformed_answer(provider: FakeProvider) -> None:
    with pytest.raises(AttemptFailed) as caught:
        ask(openai_http.chat, target(provider, "garbage"))

    assert caught.value.cause == Cause.MALFORMED_ANSWER


@pytest.mark.parametrize(
    ("model_name", "config", "is_plain"),
    [
        ("gpt-4o-mini", {}, True),
        ("gpt-4o-mini", {"mock_response": "Hello"}, False),
        ("gpt-4o-mini", {"api_version": "2024-06-01"}, False),
        ("gpt-5", {}, False),
        ("claude-haiku-4-5", {}, False),
        ("mine", {"model": "openai/mine", "api_base": "https://llm.example.com/v1"}, False),
        (
            "mine",
            {
                "model": "openai/mine",
                "api_base": "https://llm.example.com/v1",
                "input_cost_per_token": 0,
                "output_cost_per_token": 0,
            },
            True,
        ),
        ("gpt-4o-mini", {"model": "azure/gpt-4o-mini", "api_base": "https://llm.example.com"}, False),
    ],
)
def test_the_plain_post_is_for_plain_openai_only(model_name: str, config: dict[str, Any], is_plain: bool) -> None:
    assert openai_http.is_plain_openai(Target(model_name, config)) is is_plain
