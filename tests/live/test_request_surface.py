"""A chat call's parameters reach the model as they are, and its tool calls come back, without naming a model."""

import json
from typing import Any

import pytest

from tests.support.live import MESSAGES, LiveTeam, Tenants

WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": {"type": "object", "properties": {}}, "strict": True},
}
PARAMETERS: dict[str, Any] = {
    "temperature": 0.25,
    "max_tokens": 77,
    "top_p": 0.5,
    "presence_penalty": -1.5,
    "frequency_penalty": 1.5,
    "seed": 42,
    "stop": ["END", "STOP"],
    "tools": [WEATHER],
    "tool_choice": "auto",
    "response_format": SCHEMA,
}
PICTURE = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
]


#: The plain POST for a name that LiteLLM knows nothing of; its SDK for one that only it can translate.
@pytest.fixture(scope="module", params=["openai/hidden-model", "hosted_vllm/hidden-model"], ids=["post", "sdk"])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def team(tenants: Tenants, model: str) -> LiveTeam:
    return tenants.team([tenants.group("echo", model=model), tenants.group("tool-call", model=model)])


def echoed(team: LiveTeam, **fields: Any) -> dict[str, Any]:
    answer = team.call(team.open_job(), **fields)
    assert answer.status_code == 200, answer.text
    return dict(json.loads(answer.json()["response"]["content"]))


def test_every_parameter_reaches_the_model(team: LiveTeam) -> None:
    body = echoed(team, **PARAMETERS)

    assert {name: body.get(name) for name in PARAMETERS} == PARAMETERS
    assert body["messages"] == MESSAGES


def test_what_is_null_or_unknown_does_not(team: LiveTeam) -> None:
    body = echoed(team, **dict.fromkeys(PARAMETERS), n=1, stream_options={}, api_key="sk-mine", base_url="http://x")

    assert not set(body) & {*PARAMETERS, "api_key", "base_url", "stream_options"}


def test_content_parts_reach_the_model(team: LiveTeam) -> None:
    messages = [{"role": "user", "content": PICTURE}]

    assert echoed(team, messages=messages)["messages"] == messages


def test_a_tool_call_comes_back(team: LiveTeam) -> None:
    _, tool_calling = team.api.get(f"/api/teams/{team.team_id}").json()["model_groups"]
    answer = team.call(team.open_job(), model_group=tool_calling, tools=[WEATHER], tool_choice="required")

    response = answer.json()["response"]
    assert (response["content"], response["finish_reason"]) == (None, "tool_calls")
    (call,) = response["tool_calls"]
    assert call["id"] == "call_1"
    assert call["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert "hidden-model" not in answer.text


def test_the_result_of_a_tool_can_be_sent(team: LiveTeam) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        *MESSAGES,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain"},
    ]

    assert echoed(team, messages=messages)["messages"][-1]["content"] == "Rain"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 2.1), ("temperature", "0.5"), ("top_p", 1.1), ("presence_penalty", -2.1), ("seed", 1.5), ("n", 2),
        ("stop", []), ("stop", [""]), ("stop", ["a"] * 5), ("stop", 7), ("tools", []), ("tools", [{}]), ("tools", "x"),
        ("tools", [{"type": "function", "function": {"name": "no spaces"}}]), ("tools", [{"type": "retrieval"}]),
        ("tools", [WEATHER] * 129), ("tool_choice", "maybe"), ("tool_choice", {}), ("response_format", "json"),
        ("response_format", {"type": "xml"}), ("response_format", {"type": "json_schema"}), ("max_tokens", 0),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named_and_nothing_is_dispatched(team: LiveTeam, field: str, value: Any) -> None:
    job = team.open_job()
    answer = team.call(job, **{field: value})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"].split(".")[0] == field
    assert team.api.get(f"/api/jobs/{job}").json()["calls"] == []
