"""Streamed calls, over HTTP: what the client hears, and what is on record afterwards."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.live.ledger_rules import assert_ledger_is_sound
from tests.support.fake_provider import ANSWER, COMPLETION_TOKENS, LEAKED_KEY, LEAKED_URL, PROMPT_TOKENS
from tests.support.live import ANSWER_COST_USD, INPUT_COST_USD, MESSAGES, OUTPUT_COST_USD, LiveTeam, Tenants
from tests.support.stack import FakeProvider, Stack, eventually


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    data: dict[str, Any]


@contextmanager
def streaming(team: LiveTeam, path: str, **fields: Any) -> Iterator[httpx.Response]:
    headers, timeout_s = fields.pop("headers", None), fields.pop("timeout_s", 30)
    body = {"model_group": team.group, "messages": MESSAGES, "stream": True, **fields}
    with team.api.stream("POST", path, json=body, headers=headers, timeout=timeout_s) as response:
        yield response


def events_of(response: httpx.Response) -> Iterator[Event]:
    name = "message"
    for line in response.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield Event(name, json.loads(value))
            name = "message"


def hear(team: LiveTeam, job: str, **fields: Any) -> list[Event]:
    with streaming(team, f"/api/jobs/{job}/llm-call", **fields) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        return list(events_of(response))


def text_of(events: list[Event]) -> str:
    return "".join(event.data["delta"].get("content", "") for event in events if event.name == "message")


def record(stack: Stack, call_id: str) -> dict[str, Any]:
    return stack.query("SELECT * FROM jobs_call WHERE id = %s", call_id)[0]


def attempts(stack: Stack, call_id: str) -> list[dict[str, Any]]:
    return stack.query("SELECT * FROM jobs_attempt WHERE call_id = %s ORDER BY sequence", call_id)


def test_an_answer_is_heard_as_it_comes_and_recorded_as_any(stack: Stack, tenants: Tenants) -> None:
    team = tenants.team([tenants.group("ok")])
    job = team.open_job()
    events = hear(team, job)

    last = events[-1]
    assert text_of(events[:-1]) == ANSWER
    assert last.name == "done"
    assert last.data["finish_reason"] == "stop"
    tokens = PROMPT_TOKENS + COMPLETION_TOKENS
    assert last.data["usage"] == {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": COMPLETION_TOKENS,
        "total_tokens": tokens,
    }
    assert last.data["metadata"]["tokens_used"] == tokens
    assert last.data["metadata"]["model_group"] == team.group
    call = record(stack, last.data["call_id"])
    assert (call["state"], call["cost_usd"]) == ("succeeded", ANSWER_COST_USD)
    assert [attempt["usage_is_estimated"] for attempt in attempts(stack, call["id"])] == [False]
    assert team.complete(job).json()["costs"]["credit_applied"] is True


def test_pieces_pass_through_as_they_are_made(tenants: Tenants, provider: FakeProvider) -> None:
    name = f"hang-5/{uuid.uuid4().hex}"
    team = tenants.team([tenants.group(name)])
    with streaming(team, f"/api/jobs/{team.open_job()}/llm-call") as response:
        events, heard = events_of(response), ""
        while heard.count("t") < 5:
            heard += next(events).data["delta"]["content"]

        # The model hangs there, so nothing that collects an answer could have passed these on.
        assert provider.requests(name) == 1
        assert provider.gone(name) == 0


def test_a_tool_call_is_heard_in_fragments(tenants: Tenants) -> None:
    team = tenants.team([tenants.group("tool-call")])
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    events = hear(team, team.open_job(), tools=[tool])

    fragments = [fragment for event in events[:-1] for fragment in event.data["delta"]["tool_calls"]]
    assert "".join(fragment["function"].get("arguments", "") for fragment in fragments) == '{"city": "Oslo"}'
    assert events[-1].data["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("first", ["status-503", "garbage", "drop", "huge", "cut-0", "empty"])
def test_another_model_answers_until_the_first_piece(stack: Stack, tenants: Tenants, first: str) -> None:
    team = tenants.team([tenants.group(first, "ok")])
    events = hear(team, team.open_job())

    assert text_of(events[:-1]) == ANSWER
    assert [one["outcome"] for one in attempts(stack, events[-1].data["call_id"])] == ["failed", "succeeded"]


@pytest.mark.parametrize(
    ("behaviour", "status", "cause"),
    [
        ("status-500", 500, "provider_error"),
        ("garbage", 500, "malformed_answer"),
        ("huge", 500, "malformed_answer"),
        ("trickle", 500, "timeout"),
        ("content-policy", 400, "content_policy"),
    ],
)
def test_without_a_piece_the_answer_is_an_ordinary_error(
    stack: Stack, tenants: Tenants, behaviour: str, status: int, cause: str
) -> None:
    team = tenants.team([tenants.group(behaviour, timeout=1)])
    job = team.open_job()
    with streaming(team, f"/api/jobs/{job}/llm-call") as response:
        text = response.read().decode()

    assert response.status_code == status, text
    assert response.headers["content-type"].startswith("application/json")
    assert LEAKED_URL not in text
    assert LEAKED_KEY not in text
    [call] = stack.query("SELECT state, cause FROM jobs_call WHERE job_id = %s", job)
    assert (call["state"], call["cause"]) == ("failed", cause)


@pytest.mark.parametrize(
    ("behaviour", "cause"), [("cut-10", "cut_short"), ("hang-10", "timeout"), ("error-10", "provider_error")]
)
def test_an_answer_that_breaks_off_says_so_and_what_it_cost(
    stack: Stack, tenants: Tenants, provider: FakeProvider, behaviour: str, cause: str
) -> None:
    unused = f"ok/{uuid.uuid4().hex}"
    team = tenants.team([tenants.group(behaviour, unused, timeout=1)])
    job = team.open_job()
    events = hear(team, job)

    last = events[-1]
    assert text_of(events[:-1]).split() == [f"t{number}" for number in range(10)]
    assert last.name == "error"
    assert last.data["finish_reason"] == cause
    assert last.data["error"]["code"] == "llm_call_failed"
    assert last.data["usage"]["completion_tokens"] >= 10
    assert provider.requests(unused) == 0
    call = record(stack, last.data["call_id"])
    assert (call["state"], call["cause"]) == ("failed", cause)
    usage = last.data["usage"]
    assert call["cost_usd"] == (
        usage["prompt_tokens"] * INPUT_COST_USD + usage["completion_tokens"] * OUTPUT_COST_USD
    ).quantize(Decimal("1.000000000000"))
    [attempt] = attempts(stack, call["id"])
    assert attempt["usage_is_estimated"] is True


def test_a_stream_that_broke_off_can_be_retried(tenants: Tenants) -> None:
    team = tenants.team([tenants.group("cut-1"), healthy := tenants.group("ok")])
    job = team.open_job()
    broken = hear(team, job)[-1].data["call_id"]

    assert hear(team, job, model_group=healthy, retry_of=broken)[-1].name == "done"
    assert team.complete(job).json()["costs"]["credit_applied"] is True


@pytest.mark.parametrize("behaviour", ["tokens-1000-at-50", "hang-5"])
def test_a_client_that_leaves_stops_the_model(
    stack: Stack, tenants: Tenants, provider: FakeProvider, behaviour: str
) -> None:
    name = f"{behaviour}/{uuid.uuid4().hex}"
    team = tenants.team([tenants.group(name)])
    job = team.open_job()
    with streaming(team, f"/api/jobs/{job}/llm-call") as response:
        first = next(events_of(response))
    eventually(lambda: provider.gone(name) == 1, "the model is stopped", within_s=5, log=stack.log("worker"))

    call_id = first.data["call_id"]
    eventually(lambda: record(stack, call_id)["ended_at"], "the call ends", within_s=5, log=stack.log("worker"))
    call = record(stack, call_id)
    assert (call["state"], call["cause"]) == ("cancelled", "client_gone")
    assert call["completion_tokens"] > 0
    assert call["cost_usd"] > 0
    completed = team.complete(job).json()
    assert (completed["status"], completed["costs"]["credit_applied"]) == ("completed", True)


@pytest.mark.alone
def test_a_model_is_stopped_within_a_second_of_its_clients_leaving(
    stack: Stack, tenants: Tenants, provider: FakeProvider, record_property: Callable[[str, object], None]
) -> None:
    took_s = []
    for _ in range(5):
        name = f"tokens-1000-at-50/{uuid.uuid4().hex}"
        team = tenants.team([tenants.group(name)])
        with streaming(team, f"/api/jobs/{team.open_job()}/llm-call") as response:
            next(events_of(response))
        left_at = time.monotonic()
        eventually(lambda name=name: provider.gone(name) == 1, "the model is stopped", within_s=5)  # type: ignore[misc]
        took_s.append(time.monotonic() - left_at)
    record_property("stopped_within_s", max(took_s))
    print(f"stopped within {max(took_s):.3f} s")  # noqa: T201 (the figure, for `pytest -rP`)
    assert max(took_s) < 1


def test_a_client_that_leaves_before_the_first_piece_stops_the_model(
    stack: Stack, tenants: Tenants, provider: FakeProvider
) -> None:
    name = f"hang-0/{uuid.uuid4().hex}"
    team = tenants.team([tenants.group(name)])
    job = team.open_job()
    with pytest.raises(httpx.ReadTimeout), streaming(team, f"/api/jobs/{job}/llm-call", timeout_s=0.5):
        pass
    eventually(lambda: provider.gone(name) == 1, "the model is stopped", within_s=5, log=stack.log("worker"))

    def state() -> bool:
        [call] = stack.query("SELECT state FROM jobs_call WHERE job_id = %s", job)
        return bool(call["state"] == "cancelled")

    eventually(state, "the call is cancelled", within_s=5, log=stack.log("worker"))


def test_a_stored_answer_is_replayed_as_a_stream(stack: Stack, tenants: Tenants, provider: FakeProvider) -> None:
    name = f"ok/{uuid.uuid4().hex}"
    team = tenants.team([tenants.group(name)])
    job = team.open_job()
    key = {"Idempotency-Key": uuid.uuid4().hex}
    once, again = (hear(team, job, headers=key) for _ in range(2))

    assert text_of(once) == text_of(again) == ANSWER
    assert once[-1].data == again[-1].data
    assert provider.requests(name) == 1


def test_a_job_of_one_streamed_call_ends_with_it(stack: Stack, tenants: Tenants) -> None:
    team = tenants.team([tenants.group("ok")], credits_allocated=1)
    path, job = "/api/jobs/create-and-call", {"team_id": team.team_id, "job_type": "chat"}
    with streaming(team, path, **job) as response:
        events = list(events_of(response))
    with streaming(team, path, **job) as refused:
        refused.read()

    assert text_of(events) == ANSWER
    last = events[-1].data
    assert last["status"] == "completed"
    assert last["costs"]["credit_applied"] is True
    assert last["costs"]["credits_remaining"] == 0
    assert refused.status_code == 402
    assert_ledger_is_sound(stack)


def test_a_job_of_one_call_that_breaks_off_costs_nothing(stack: Stack, tenants: Tenants) -> None:
    team = tenants.team([tenants.group("cut-3")])
    job = {"team_id": team.team_id, "job_type": "chat"}
    with streaming(team, "/api/jobs/create-and-call", **job) as response:
        last = list(events_of(response))[-1]

    assert (last.name, last.data["status"]) == ("error", "failed")
    assert last.data["costs"]["credit_applied"] is False
    assert team.balance()["credits_used"] == 0
