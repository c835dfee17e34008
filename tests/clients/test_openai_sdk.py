"""The official OpenAI SDK for Python against our own base URL: what works at OpenAI works here."""

import uuid
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.support.fake_endpoints import VECTOR
from tests.support.fake_provider import ANSWER, COMPLETION_TOKENS, LEAKED_KEY, LEAKED_URL, PROMPT_TOKENS
from tests.support.live import LiveTeam, Tenants
from tests.support.stack import FakeProvider, Stack

MESSAGES: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Analyze this."}]
WEATHER: openai.types.chat.ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture(params=["/v1", ""], ids=["with /v1", "as the guide has it"])
def base_url(request: pytest.FixtureRequest, stack: Stack) -> str:
    return f"{stack.url()}{request.param}"


def sdk(base_url: str, key: str) -> OpenAI:
    return OpenAI(api_key=key, base_url=base_url, max_retries=0, timeout=30)


@pytest.fixture(scope="module")
def team(tenants: Tenants) -> LiveTeam:
    return tenants.team([tenants.group("ok", name=f"Chat_{uuid.uuid4().hex[:6]}")])


@pytest.fixture
def client(base_url: str, team: LiveTeam) -> Iterator[OpenAI]:
    with sdk(base_url, team.key) as opened:
        yield opened


@pytest.fixture
def one(stack: Stack, team: LiveTeam) -> Iterator[OpenAI]:
    with sdk(f"{stack.url()}/v1", team.key) as opened:
        yield opened


def client_of(stack: Stack, team: LiveTeam, *, max_retries: int = 0) -> OpenAI:
    return OpenAI(api_key=team.key, base_url=f"{stack.url()}/v1", max_retries=max_retries, timeout=30)


def test_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="secret-model-0", messages=MESSAGES)

    assert answer.choices[0].message.content == ANSWER
    assert answer.id == "chatcmpl-fake"
    assert answer.model == "secret-model-0"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (PROMPT_TOKENS, COMPLETION_TOKENS)
    assert answer._request_id


def test_a_model_group_s_name_is_a_model_too(client: OpenAI, team: LiveTeam) -> None:
    assert client.chat.completions.create(model=team.group, messages=MESSAGES).choices[0].message.content == ANSWER


@pytest.mark.parametrize("with_usage", [True, False])
def test_streaming(one: OpenAI, *, with_usage: bool) -> None:
    options: openai.types.chat.ChatCompletionStreamOptionsParam = {"include_usage": True}
    stream = one.chat.completions.create(
        model="secret-model-0", messages=MESSAGES, stream=True, stream_options=options if with_usage else openai.omit
    )
    chunks = list(stream)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert {chunk.model for chunk in chunks} == {"secret-model-0"}
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert [usage.total_tokens for usage in usages] == ([PROMPT_TOKENS + COMPLETION_TOKENS] if with_usage else [])
    assert all(chunk.choices for chunk in chunks) is not with_usage


@pytest.mark.parametrize("streams", [False, True])
def test_tools(stack: Stack, tenants: Tenants, *, streams: bool) -> None:
    team = tenants.team([tenants.group("tool-call")])
    with client_of(stack, team) as client:
        if streams:
            with client.chat.completions.stream(model="secret-model-0", messages=MESSAGES, tools=[WEATHER]) as stream:
                answer = stream.get_final_completion()
            calls = answer.choices[0].message.tool_calls
        else:
            plain = client.chat.completions.create(model="secret-model-0", messages=MESSAGES, tools=[WEATHER])
            calls = plain.choices[0].message.tool_calls  # type: ignore[assignment]

    assert calls is not None
    assert calls[0].function.name == "weather"
    assert calls[0].function.arguments == '{"city": "Oslo"}'


def test_json_schema_and_unknown_parameters_reach_the_provider(stack: Stack, tenants: Tenants) -> None:
    team = tenants.team([tenants.group("echo")])
    schema: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    with client_of(stack, team) as client:
        answer = client.chat.completions.create(
            model="secret-model-0",
            messages=MESSAGES,
            response_format=schema,
            extra_body={"brand_new": {"deep": [1]}, "metadata": {"a": "b"}},
        )

    text = answer.choices[0].message.content or ""
    assert '"brand_new": {"deep": [1]}' in text
    assert '"metadata": {"a": "b"}' in text
    assert '"json_schema": {"name": "a"' in text


def test_completions(one: OpenAI) -> None:
    assert one.completions.create(model="secret-model-0", prompt="Analyze").choices[0].text == ANSWER
    pieces = list(one.completions.create(model="secret-model-0", prompt="Analyze", stream=True))
    assert "".join(piece.choices[0].text for piece in pieces) == ANSWER


def test_embeddings(one: OpenAI) -> None:
    answer = one.embeddings.create(model="secret-model-0", input=["one", "two"])

    assert [item.embedding for item in answer.data] == [VECTOR, VECTOR]
    assert (answer.model, answer.usage.prompt_tokens) == ("secret-model-0", PROMPT_TOKENS)


def test_responses(one: OpenAI) -> None:
    answer = one.responses.create(model="secret-model-0", input="Analyze")

    assert (answer.output_text, answer.model) == (ANSWER, "secret-model-0")


def test_streamed_responses(one: OpenAI) -> None:
    events = list(one.responses.create(model="secret-model-0", input="Analyze", stream=True))

    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == ANSWER
    assert events[-1].type == "response.completed"
    assert events[-1].response.model == "secret-model-0"


def test_models(client: OpenAI, team: LiveTeam) -> None:
    listed = client.models.list().data

    assert [(model.id, model.owned_by) for model in listed] == [
        ("secret-model-0", "model"),
        (team.group, "model-group"),
    ]
    assert client.models.retrieve("secret-model-0").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")


def test_a_wrong_key(base_url: str) -> None:
    with sdk(base_url, "sk-wrong") as client, pytest.raises(openai.AuthenticationError) as refused:
        client.chat.completions.create(model="secret-model-0", messages=MESSAGES)

    assert (refused.value.status_code, refused.value.code) == (401, "invalid_api_key")


def test_a_model_that_the_team_has_not(client: OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError, match="does not have access to model 'gpt-9'"):
        client.chat.completions.create(model="gpt-9", messages=MESSAGES)


def test_a_bad_request(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="secret-model-0", messages=[])

    assert refused.value.param == "messages"


def test_an_unknown_path_and_a_wrong_method(base_url: str, team: LiveTeam) -> None:
    with sdk(base_url, team.key) as client:
        with pytest.raises(openai.APIStatusError) as refused:
            client.get("/chat/completions", cast_to=object)
        assert (refused.value.status_code, refused.value.code) == (405, "method_not_allowed")


def test_an_exhausted_budget_is_not_tried_again(stack: Stack, tenants: Tenants, provider: FakeProvider) -> None:
    behaviour = f"ok/{uuid.uuid4().hex[:8]}"
    team = tenants.team([tenants.group(behaviour)], credits_allocated=0)
    with client_of(stack, team, max_retries=2) as client, pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(model="secret-model-0", messages=MESSAGES)

    assert "budget" in str(refused.value).lower()
    assert (refused.value.status_code, refused.value.code) == (402, "insufficient_quota")
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert provider.requests(behaviour) == 0


@pytest.mark.parametrize(
    ("behaviour", "error", "code"),
    [
        ("status-429", openai.RateLimitError, "rate_limit_exceeded"),
        ("status-500", openai.InternalServerError, "llm_call_failed"),
        ("status-400", openai.BadRequestError, "llm_request_refused"),
        ("context-window", openai.BadRequestError, "context_length_exceeded"),
        ("status-401", openai.InternalServerError, "llm_call_failed"),
    ],
)
def test_a_provider_s_errors_come_in_our_words(
    stack: Stack, tenants: Tenants, behaviour: str, error: type[openai.APIStatusError], code: str
) -> None:
    team = tenants.team([tenants.group(behaviour)])
    with client_of(stack, team) as client:
        for streams in (False, True):
            with pytest.raises(error) as failed:
                list(client.chat.completions.create(model="secret-model-0", messages=MESSAGES, stream=streams))
            assert failed.value.code == code
            for secret in (LEAKED_KEY, LEAKED_URL, "hidden-model"):
                assert secret not in str(failed.value)


def test_a_stream_that_breaks_off_raises(stack: Stack, tenants: Tenants) -> None:
    team = tenants.team([tenants.group("error-10")])
    heard: list[object] = []
    with client_of(stack, team) as client:
        stream = client.chat.completions.create(model="secret-model-0", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError) as failed:
            heard += stream

    assert len(heard) >= 10
    assert LEAKED_KEY not in str(failed.value)
