"""Nothing that is sent to an OpenAI-compatible path is answered by a bug, and every error has OpenAI's shape."""

import json
from typing import Any

import httpx
import pytest

from tests.support.live import MESSAGES, LiveTeam, Tenants
from tests.support.stack import Stack

DEEP = b'{"model": ' + b"[" * 5000 + b"]" * 5000 + b"}"
BODIES: dict[str, Any] = {
    "no body": b"",
    "no JSON": b"{",
    "a list": [],
    "too deep": DEEP,
    "NUL": b'{"model": "a\\u0000", "messages": [{"role": "user", "content": "x"}]}',
    "a lone surrogate": b'{"model": "\\ud800", "messages": [{"role": "user", "content": "x"}]}',
    "NaN": b'{"model": "m", "temperature": NaN}',
    "no model": {"messages": MESSAGES},
    "a model of another kind": {"model": {"a": 1}, "messages": MESSAGES},
    "a long model": {"model": "m" * 300, "messages": MESSAGES},
    "no messages": {"model": "m"},
    "messages of another kind": {"model": "m", "messages": "x"},
    "a message of another kind": {"model": "m", "messages": [1]},
    "a role that is none": {"model": "m", "messages": [{"role": "boss", "content": "x"}]},
    "stream of another kind": {"model": "m", "messages": MESSAGES, "stream": "yes"},
    "options of another kind": {"model": "m", "messages": MESSAGES, "stream": True, "stream_options": [1]},
    "an unknown model": {"model": "мodel'; --", "messages": MESSAGES},
}
#: What a provider may make something of, or not.
SCHEMA: Any = {"type": "object", "properties": {"type": {"type": ["string", "null"]}}}
ODD: dict[str, Any] = {
    "types in lists and properties of that name": {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
    },
    "huge numbers": {"max_tokens": 10**30, "n": 10**30},
    "counts of another kind": {"max_tokens": "many", "n": [1], "best_of": {}},
    "a tool of another kind": {"tools": {"a": [None, 1.5, {"type": "image_url"}]}},
    "names of ours": {"job": 1, "endpoint": "x", "messages_": [], "is_late": True},
}


@pytest.fixture(scope="module")
def team(tenants: Tenants) -> LiveTeam:
    return tenants.team([tenants.group("ok")])


def assert_openai_s(answer: httpx.Response) -> None:
    assert set(answer.json()) == {"error"}, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] != "internal_error"
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("endpoint", ["chat/completions", "completions", "embeddings", "responses"])
def test_a_nasty_body_is_refused(team: LiveTeam, endpoint: str) -> None:
    for name, body in BODIES.items():
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = team.api.post(f"/v1/{endpoint}", content=raw, headers={"Content-Type": "application/json"})
        assert 400 <= answer.status_code < 500, (name, answer.text)
        assert_openai_s(answer)


@pytest.mark.parametrize("odd", ODD)
def test_what_is_odd_is_no_bug_of_ours(team: LiveTeam, odd: str) -> None:
    body = {"model": "secret-model-0", "messages": MESSAGES, **ODD[odd]}
    answer = team.api.post("/v1/chat/completions", json=body)
    assert answer.status_code in (200, 400, 402, 429), answer.text
    if answer.status_code != 200:
        assert_openai_s(answer)


def test_schemas_are_no_bug_of_llm_call_s_either(team: LiveTeam) -> None:
    odd = ODD["types in lists and properties of that name"]
    assert team.call(team.open_job(), **odd).status_code == 200


def test_what_is_not_on_our_books_is_refused(team: LiveTeam) -> None:
    for endpoint, field, value in (
        ("chat/completions", "service_tier", "priority"),
        ("responses", "service_tier", ["flex"]),
        ("responses", "background", True),
    ):
        body = {"model": "secret-model-0", "messages": MESSAGES, "input": "Hello", field: value}
        refused = team.api.post(f"/v1/{endpoint}", json=body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)
    body = {"model": "secret-model-0", "messages": MESSAGES, "service_tier": "flex"}
    assert team.api.post("/v1/chat/completions", json=body).status_code == 200


def test_whoever_has_no_key_or_no_team_is_told_so(stack: Stack, tenants: Tenants, team: LiveTeam) -> None:
    body = {"model": "secret-model-0", "messages": MESSAGES}
    for client, status in ((stack.client(), 401), (stack.client("sk-no"), 401), (tenants.operator, 403)):
        for answer in (client.post("/v1/chat/completions", json=body), client.get("/models")):
            assert answer.status_code == status
            assert_openai_s(answer)


def test_what_is_not_there_and_what_is_too_large(team: LiveTeam) -> None:
    for answer, status in (
        (team.api.get("/v1/files"), 404),
        (team.api.get("/v1/models/%00"), 404),
        (team.api.post("/chat/completions/", json={}), 404),
        (team.api.get("/models/"), 404),
        (team.api.delete("/v1/models"), 405),
        (team.api.get("/chat/completions"), 405),
        (team.api.post("/v1/chat/completions", content=b" " * (11 * 1024 * 1024)), 413),
    ):
        assert answer.status_code == status, answer.text
        assert_openai_s(answer)
