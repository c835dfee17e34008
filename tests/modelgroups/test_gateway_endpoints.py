"""OpenAI's endpoints, by either way to ask a model: the provider's own answer, under the name that teams know."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest

from jobs.callpath.cooldown import TROUBLE
from modelgroups.gateway import chat, openai_http, sdk
from modelgroups.gateway.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, as_chat_chunk, has_answer, shown
from modelgroups.gateway.errors import AttemptFailed, Cause
from modelgroups.gateway.streams import ChatStream
from modelgroups.gateway.types import ChatAnswer, ChatRequest, Target
from tests.support.fake_endpoints import VECTOR
from tests.support.fake_provider import ANSWER, COMPLETION_TOKENS, PROMPT_TOKENS
from tests.support.stack import FakeProvider, fake_provider

PRICE = Decimal("0.000001")
REQUESTS = {
    CHAT: ChatRequest([{"role": "user", "content": "Hello"}], {"temperature": 0.5}, endpoint=CHAT),
    COMPLETIONS: ChatRequest([], {"prompt": "Hello"}, endpoint=COMPLETIONS),
    EMBEDDINGS: ChatRequest([], {"input": ["Hello"], "encoding_format": "float"}, endpoint=EMBEDDINGS),
    RESPONSES: ChatRequest([], {"input": "Hello"}, endpoint=RESPONSES),
}
TEXTS: Mapping[str, Callable[[Any], Any]] = {
    CHAT: lambda body: body["choices"][0]["message"]["content"],
    COMPLETIONS: lambda body: body["choices"][0]["text"],
    EMBEDDINGS: lambda body: body["data"][0]["embedding"],
    RESPONSES: lambda body: body["output"][0]["content"][0]["text"],
}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProvider]:
    with fake_provider(tmp_path_factory.mktemp("endpoints")) as running:
        yield running


#: LiteLLM's own way to `responses` needs a package that it does not require, so that all of it goes by POST.
WAYS = [(way, endpoint) for way in (sdk, openai_http) for endpoint in REQUESTS if (way, endpoint) != (sdk, RESPONSES)]
IDS = [f"{way.__name__.rpartition('.')[2]} {endpoint}" for way, endpoint in WAYS]
STREAMS = [(way, endpoint) for way, endpoint in WAYS if endpoint != EMBEDDINGS]


def target(provider: FakeProvider, behaviour: str) -> Target:
    config = {
        "model": "openai/gpt-4o-mini",
        "api_base": f"{provider.url}/{behaviour}/v1",
        "input_cost_per_token": 0.000001,
        "output_cost_per_token": 0.000001,
    }
    return Target("public-name", config, "sk-test")


def run(asking: Callable[[], Awaitable[Any]]) -> Any:
    async def running() -> Any:
        try:
            return await asking()
        finally:
            await openai_http.close()
            await asyncio.sleep(0)

    return asyncio.run(running())


def ask(way: ModuleType, asked: Target, endpoint: str) -> ChatAnswer:
    return run(lambda: way.chat(asked, REQUESTS[endpoint], timeout_s=10))


@pytest.mark.parametrize(("way", "endpoint"), WAYS, ids=IDS)
def test_an_answer_is_the_provider_s_own(way: ModuleType, provider: FakeProvider, endpoint: str) -> None:
    answer = ask(way, target(provider, "ok"), endpoint)

    assert answer.body is not None
    assert answer.body["model"] == "public-name"
    assert TEXTS[endpoint](answer.body) == (VECTOR if endpoint == EMBEDDINGS else ANSWER)
    tokens = (PROMPT_TOKENS, 0 if endpoint == EMBEDDINGS else COMPLETION_TOKENS)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == tokens
    assert answer.usage.cost_usd == sum(tokens) * PRICE


@pytest.mark.parametrize(("way", "endpoint"), WAYS, ids=IDS)
def test_an_error_is_a_cause(way: ModuleType, provider: FakeProvider, endpoint: str) -> None:
    with pytest.raises(AttemptFailed) as failed:
        ask(way, target(provider, "status-429"), endpoint)

    assert failed.value.cause is Cause.RATE_LIMITED


@pytest.mark.parametrize(("way", "endpoint"), STREAMS)
def test_a_stream_s_chunks_are_the_provider_s_own(way: ModuleType, provider: FakeProvider, endpoint: str) -> None:
    asked, request = target(provider, "ok"), REQUESTS[endpoint]

    async def reading() -> list[Mapping[str, Any]]:
        arriving: AsyncGenerator[list[Mapping[str, Any]], None] = way.stream(asked, request)
        return [chunk async for chunks in arriving for chunk in chunks]

    chunks = run(reading)
    public = shown(chunks, request, asked)
    as_chat = [as_chat_chunk(endpoint, chunk) for chunk in chunks]
    choices = [choice for chunk in as_chat for choice in chunk.get("choices", [])]

    assert "gpt-4o-mini" not in str(public)
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == ANSWER
    assert [choice["finish_reason"] for choice in choices if choice.get("finish_reason")] == ["stop"]
    assert [chunk["usage"]["prompt_tokens"] for chunk in as_chat if chunk.get("usage")][-1:] == [PROMPT_TOKENS]


@pytest.mark.parametrize(
    ("model", "config", "can"),
    [
        ("gpt-5-mini", {}, True),
        ("m", {"model": "openai/anything", "api_base": "http://127.0.0.1:1"}, True),
        ("claude-sonnet-4-5", {}, False),
        ("gpt-4o-mini", {"mock_response": "Hello"}, False),
        ("m", {"model": "azure/gpt-4o"}, False),
    ],
)
def test_responses_are_openai_s(model: str, config: dict[str, Any], *, can: bool) -> None:
    assert openai_http.has_responses(Target(model, config)) is can


def test_a_model_without_responses_says_so() -> None:
    asked = Target("claude-sonnet-4-5", {})
    with pytest.raises(AttemptFailed) as failed:
        run(lambda: chat.ask(asked, REQUESTS[RESPONSES], timeout_s=10))
    assert failed.value.cause is Cause.UNSUPPORTED


def test_what_a_client_did_not_ask_for_is_left_out_and_errors_always_are() -> None:
    asked = Target("m", {})
    chunks: list[dict[str, Any]] = [
        {"choices": [{}], "usage": None},
        {"choices": [], "usage": {}},
        {"error": {"message": "sk-secret"}},
    ]

    assert shown(chunks, REQUESTS[CHAT], asked) == [{"choices": [{}]}]
    wanting = ChatRequest([], {"stream_options": {"include_usage": True}}, endpoint=CHAT)
    assert shown(chunks, wanting, asked) == chunks[:2]
    failed = [{"type": "response.failed", "response": {"error": {"message": "sk-secret"}}}]
    assert shown(failed, REQUESTS[RESPONSES], asked) == []
    assert "error" in as_chat_chunk(RESPONSES, failed[0])


@pytest.mark.parametrize("error", ["sk-secret", {"message": "sk-secret"}, ["sk-secret"], 1, {}])
def test_an_error_of_any_shape_is_not_passed_on(error: Any) -> None:
    asked = Target("public-name", {"model": "openai/gpt-4o-mini"}, "sk-test")
    for endpoint, chunk in (
        (CHAT, {"choices": [{"delta": {"content": "x"}}], "error": error}),
        (COMPLETIONS, {"choices": [{"text": "x"}], "error": error}),
        (RESPONSES, {"type": "response.output_text.delta", "delta": "x", "error": error}),
        (RESPONSES, {"type": "response.completed", "response": {"error": error}}),
        (RESPONSES, {"type": "response.failed", "response": {"error": error}}),
    ):
        assert shown([chunk], REQUESTS[endpoint], asked) == []
        with pytest.raises(AttemptFailed):
            ChatStream(lambda delta: None, endpoint=endpoint).take([chunk])
    assert not has_answer(COMPLETIONS, {"choices": [{"text": "x"}], "error": error})
    with pytest.raises(AttemptFailed):
        openai_http._read({"choices": [{"message": {"content": "x"}}], "error": error}, asked)


@pytest.mark.parametrize(
    ("endpoint", "status", "cause"),
    [
        (EMBEDDINGS, 404, Cause.UNSUPPORTED),
        (RESPONSES, 403, Cause.UNSUPPORTED),
        (EMBEDDINGS, 401, Cause.AUTHENTICATION),
        (CHAT, 404, Cause.MODEL_NOT_FOUND),
    ],
)
def test_a_model_does_not_rest_for_a_client_s_mistake(
    provider: FakeProvider, endpoint: str, status: int, cause: Cause
) -> None:
    asked = target(provider, f"status-{status}")

    with pytest.raises(AttemptFailed) as failed:
        run(lambda: chat.ask(asked, REQUESTS[endpoint], timeout_s=10))

    assert (failed.value.cause, failed.value.http_status) == (cause, status)
    assert (cause in TROUBLE) is (cause != Cause.UNSUPPORTED)
