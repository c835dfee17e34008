"""A failing model is rescued by the next one; what is the request's own fault is not; and nobody sees either's name."""

from decimal import Decimal
from typing import Any

import pytest

from tests.support.fake_provider import ANSWER, LEAKED_KEY, LEAKED_URL
from tests.support.live import ANSWER_COST_USD, UPSTREAM_KEY, LiveTeam, Tenants
from tests.support.stack import FakeProvider, Stack

SECRETS = (UPSTREAM_KEY, LEAKED_KEY, LEAKED_URL, "sk-", "://", "127.0.0.1", "secret-model", "hidden-model", "litellm")

#: LiteLLM's SDK makes an error 500 of its own out of a page of HTML.
UNREADABLE = "malformed_answer|provider_error"


def attempts_of(stack: Stack, call_id: str) -> list[dict[str, Any]]:
    return stack.query("SELECT * FROM jobs_attempt WHERE call_id = %s ORDER BY sequence", call_id)


def calls_of(stack: Stack, job_id: str) -> list[dict[str, Any]]:
    return stack.query("SELECT * FROM jobs_call WHERE job_id = %s ORDER BY created_at", job_id)


def assert_keeps_secrets(text: str) -> None:
    assert [secret for secret in SECRETS if secret in text.lower()] == []


@pytest.fixture
def failing_team(tenants: Tenants, provider: FakeProvider) -> LiveTeam:
    """All models of its group are down, each in another way."""
    return tenants.team([tenants.group("status-429", "status-500", "garbage", "drop")])


@pytest.mark.parametrize(
    ("behaviour", "cause", "http_status", "cost_usd"),
    [
        ("status-429", "rate_limited", 429, Decimal(0)),
        ("status-500", "provider_error", 500, Decimal(0)),
        ("status-503", "provider_error", 503, Decimal(0)),
        ("status-408", "timeout", 408, Decimal(0)),
        ("status-409", "conflict", 409, Decimal(0)),
        ("status-401", "authentication", 401, Decimal(0)),
        ("status-404", "model_not_found", 404, Decimal(0)),
        ("timeout", "timeout", None, Decimal(0)),
        ("garbage", UNREADABLE, None, Decimal(0)),
        ("empty", "malformed_answer", None, ANSWER_COST_USD),
        ("drop", "unreachable", None, Decimal(0)),
    ],
)
def test_the_next_model_rescues_a_call(
    stack: Stack, tenants: Tenants, behaviour: str, cause: str, http_status: int | None, cost_usd: Decimal
) -> None:
    team = tenants.team([tenants.group(behaviour, "ok", timeout=1)])
    job = team.open_job()

    answer = team.call(job)

    assert answer.status_code == 200, answer.text
    assert answer.json()["response"] == {"content": ANSWER, "finish_reason": "stop"}
    first, second = attempts_of(stack, answer.json()["call_id"])
    assert (first["outcome"], first["cost_usd"]) == ("failed", cost_usd)
    assert first["cause"] in cause.split("|")
    assert http_status is None or first["http_status"] == http_status
    assert (second["outcome"], second["cost_usd"]) == ("succeeded", ANSWER_COST_USD)
    completion = team.complete(job).json()
    assert completion["costs"]["credit_applied"] is True
    assert completion["costs"]["failed_calls"] == 0
    assert Decimal(str(completion["costs"]["total_cost_usd"])) == cost_usd + ANSWER_COST_USD


def test_a_timeout_costs_no_more_than_the_model_s_own_limit(tenants: Tenants) -> None:
    team = tenants.team([tenants.group("timeout", "ok", timeout=1)])

    answer = team.call(team.open_job())

    assert answer.status_code == 200, answer.text
    assert 1000 <= answer.json()["metadata"]["latency_ms"] < 3000


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        ("status-400", "request_refused"),
        ("status-422", "request_refused"),
        ("content-policy", "content_policy"),
        ("context-window", "context_window"),
    ],
)
def test_a_request_s_own_fault_fails_at_once(stack: Stack, tenants: Tenants, behaviour: str, cause: str) -> None:
    team = tenants.team([tenants.group(behaviour, "ok")])
    job = team.open_job()

    answer = team.call(job)

    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"].startswith("LLM call failed: ")
    assert_keeps_secrets(answer.text)
    (call,) = calls_of(stack, job)
    assert (call["state"], call["cause"]) == ("failed", cause)
    assert [attempt["cause"] for attempt in attempts_of(stack, call["id"])] == [cause]


def test_a_call_fails_once_when_every_model_is_down(stack: Stack, failing_team: LiveTeam) -> None:
    job = failing_team.open_job()

    answer = failing_team.call(job)

    assert answer.status_code == 500
    assert answer.json()["detail"].startswith("LLM call failed: ")
    assert answer.json()["code"] == "llm_call_failed"
    (call,) = calls_of(stack, job)
    assert call["state"] == "failed"
    causes = [attempt["cause"] for attempt in attempts_of(stack, call["id"])]
    assert causes[:2] + causes[3:4] == ["rate_limited", "provider_error", "unreachable"]
    assert causes[2] in UNREADABLE.split("|")
    # Once more, but only those whose trouble may have passed.
    assert [cause for cause in causes[4:] if cause != "provider_error"] == ["rate_limited", "unreachable"]


def test_a_failed_call_tells_a_team_nothing_of_its_models(failing_team: LiveTeam) -> None:
    job = failing_team.open_job()

    answers = [failing_team.call(job), failing_team.api.get(f"/api/jobs/{job}"), failing_team.complete(job)]

    assert [answer.status_code for answer in answers] == [500, 200, 200]
    for answer in answers:
        assert_keeps_secrets(answer.text)
        assert "LLM call failed: " in answer.text


def test_a_job_with_a_failed_call_is_not_charged(failing_team: LiveTeam) -> None:
    job = failing_team.open_job()
    failing_team.call(job)

    costs = failing_team.complete(job).json()["costs"]

    assert (costs["failed_calls"], costs["credit_applied"], costs["credits_remaining"]) == (1, False, 100)
    assert failing_team.balance()["credits_held"] == 0


def test_a_retried_call_makes_the_job_chargeable_again(stack: Stack, tenants: Tenants) -> None:
    failing, working = tenants.group("status-500"), tenants.group("ok")
    team = tenants.team([failing, working])
    job = team.open_job()
    assert team.call(job).status_code == 500
    (failed,) = calls_of(stack, job)

    assert team.call(job, model_group=working, retry_of=str(failed["id"])).status_code == 200

    costs = team.complete(job).json()["costs"]
    assert (costs["successful_calls"], costs["failed_calls"], costs["superseded_calls"]) == (1, 0, 1)
    assert (costs["credit_applied"], costs["credits_remaining"]) == (True, 99)
