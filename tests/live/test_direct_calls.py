"""OpenAI-compatible calls and what they are counted to: a job, a job of their own, or the team's budget alone."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.live.ledger_rules import assert_ledger_is_sound
from tests.support.fake_provider import ANSWER, COMPLETION_TOKENS, PROMPT_TOKENS
from tests.support.live import ANSWER_COST_USD, MESSAGES, LiveTeam, Tenants
from tests.support.stack import FakeProvider, Stack, eventually

#: A model at almost a dollar an answer, whatever was asked.
DOLLAR_MODEL: Any = {"input_cost_per_token": 0, "output_cost_per_token": 0.125}
ANSWER_USD = COMPLETION_TOKENS * Decimal("0.125")


def chat(team: LiveTeam, model: str = "secret-model-0", *, job: str | None = None, **fields: Any) -> httpx.Response:
    headers = {"X-Job-Id": job} if job else {}
    payload = {"model": model, "messages": MESSAGES, **fields}
    return team.api.post("/v1/chat/completions", json=payload, headers=headers, timeout=60)


def usage(team: LiveTeam) -> dict[str, Any]:
    answer = team.api.get(f"/api/teams/{team.team_id}/usage")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def calls_of(stack: Stack, team: LiveTeam) -> list[dict[str, Any]]:
    return stack.query(
        "SELECT c.* FROM jobs_call c JOIN tenancy_team t ON t.id = c.team_id WHERE t.team_id = %s", team.team_id
    )


def budget(stack: Stack, team: LiveTeam) -> tuple[Any, Any]:
    """Spent and reserved."""
    (row,) = stack.query(
        "SELECT b.* FROM billing_teambudget b JOIN tenancy_team t ON t.id = b.team_id WHERE t.team_id = %s",
        team.team_id,
    )
    return row["spent_usd"], row["reserved_usd"]


@pytest.fixture
def team(tenants: Tenants) -> LiveTeam:
    return tenants.team([tenants.group("ok")])


def test_a_direct_call_costs_no_credit_but_counts(stack: Stack, team: LiveTeam) -> None:
    answer = chat(team)

    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == ANSWER
    (call,) = calls_of(stack, team)
    assert str(call["id"]) == answer.headers["x-call-id"]
    assert (call["job_id"], call["state"], call["endpoint"]) == (None, "succeeded", "chat/completions")
    assert (call["model_group"], call["model_name"], call["cost_usd"]) == (
        team.group,
        "secret-model-0",
        ANSWER_COST_USD,
    )
    used = usage(team)
    assert used["direct"] == {
        "calls": 1,
        "successful_calls": 1,
        "failed_calls": 0,
        "cost_usd": pytest.approx(float(ANSWER_COST_USD)),
        "tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
    }
    assert used["summary"]["total_jobs"] == 0
    assert used["summary"]["total_cost_usd"] == 0
    assert used["budget"]["spent_usd"] == pytest.approx(float(ANSWER_COST_USD))
    assert used["budget"]["reserved_usd"] == 0
    assert (team.balance()["credits_used"], team.balance()["credits_held"]) == (0, 0)
    assert_ledger_is_sound(stack)


def test_a_call_with_a_job_s_id_is_the_job_s(stack: Stack, team: LiveTeam) -> None:
    job = team.open_job()

    assert chat(team, job=job).status_code == 200
    assert chat(team, team.group, job=job).status_code == 200
    costs = team.complete(job).json()["costs"]

    assert (costs["total_calls"], costs["successful_calls"], costs["credit_applied"]) == (2, 2, True)
    assert costs["total_cost_usd"] == pytest.approx(float(2 * ANSWER_COST_USD))
    assert usage(team)["direct"]["calls"] == 0
    assert budget(stack, team) == (2 * ANSWER_COST_USD, 0)


def test_a_job_of_another_team_is_none(stack: Stack, tenants: Tenants, team: LiveTeam) -> None:
    foreign = tenants.team([team.group]).open_job()

    for job, status in ((foreign, 404), (str(uuid.uuid4()), 404), ("no-uuid", 400)):
        refused = chat(team, job=job)
        assert refused.status_code == status
        assert set(refused.json()) == {"error"}
    assert calls_of(stack, team) == []


def test_an_ended_job_takes_no_call(stack: Stack, team: LiveTeam) -> None:
    job = team.open_job()
    team.complete(job)

    refused = chat(team, job=job)

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "job_already_ended")
    assert refused.headers["x-should-retry"] == "false"


def test_a_team_may_have_every_direct_call_be_a_job(stack: Stack, tenants: Tenants) -> None:
    team = tenants.team([tenants.group("ok"), down := tenants.group("status-500")])
    stack.query("UPDATE tenancy_team SET direct_calls_are_jobs = true WHERE team_id = %s", team.team_id)

    assert chat(team, team.group, user="user_123").status_code == 200
    assert chat(team, down).status_code == 500

    jobs = team.api.get(f"/api/teams/{team.team_id}/jobs").json()["jobs"]
    assert [(job["job_type"], job["status"], job["credit_applied"], job["user_id"]) for job in jobs] == [
        ("direct_call", "failed", False, None),
        ("direct_call", "completed", True, "user_123"),
    ]
    assert (team.balance()["credits_used"], team.balance()["credits_held"]) == (1, 0)
    assert usage(team)["direct"]["calls"] == 0


def test_a_group_s_name_has_fallbacks_and_a_model_s_has_none(stack: Stack, tenants: Tenants) -> None:
    team = tenants.team([tenants.group("status-500", "ok")])

    assert chat(team, team.group).json()["model"] == "secret-model-1"
    assert chat(team, "secret-model-0").status_code == 500
    assert chat(team, "secret-model-1").status_code == 200


def test_an_idempotency_key_is_honoured(stack: Stack, team: LiveTeam) -> None:
    def once() -> httpx.Response:
        payload = {"model": "secret-model-0", "messages": MESSAGES}
        return team.api.post("/v1/chat/completions", json=payload, headers={"Idempotency-Key": "once"})

    first, again = once(), once()

    assert first.content == again.content
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(calls_of(stack, team)) == 1


def test_a_key_is_for_an_endpoint_and_a_job_whatever_the_path(stack: Stack, team: LiveTeam) -> None:
    def made(path: str, **headers: str) -> httpx.Response:
        payload = {"model": "secret-model-0", "messages": MESSAGES}
        return team.api.post(path, json=payload, headers={"Idempotency-Key": "one", **headers})

    assert made("/v1/chat/completions").status_code == 200
    assert made("/chat/completions").headers["Idempotency-Replayed"] == "true"
    in_job = made("/v1/chat/completions", **{"X-Job-Id": team.open_job()})
    assert (in_job.status_code, in_job.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert len(calls_of(stack, team)) == 1


def test_a_paid_answer_is_replayed_after_direct_calls_became_jobs(stack: Stack, team: LiveTeam) -> None:
    def once() -> httpx.Response:
        payload = {"model": "secret-model-0", "messages": MESSAGES}
        return team.api.post("/v1/chat/completions", json=payload, headers={"Idempotency-Key": "before"})

    first = once()
    stack.query("UPDATE tenancy_team SET direct_calls_are_jobs = true WHERE team_id = %s", team.team_id)
    again = once()

    assert (again.status_code, again.content) == (200, first.content)


def test_models_that_are_switched_off_are_not_listed(stack: Stack, tenants: Tenants) -> None:
    team = tenants.team([tenants.group("ok", "ok")])
    stack.query(
        "UPDATE modelgroups_groupmodel m SET is_enabled = false FROM modelgroups_modelgroup g"
        " WHERE g.id = m.group_id AND g.group_name = %s AND m.model_name = 'secret-model-1'",
        team.group,
    )

    listed = [model["id"] for model in team.api.get("/v1/models").json()["data"]]

    assert listed == ["secret-model-0", team.group]


def test_a_stream_whose_client_leaves_is_stopped_and_costed(stack: Stack, tenants: Tenants) -> None:
    team = tenants.team([tenants.group("tokens-50-at-20")])
    payload = {"model": "secret-model-0", "messages": MESSAGES, "stream": True}
    with team.api.stream("POST", "/v1/chat/completions", json=payload) as response:
        next(response.iter_lines())

    (call,) = eventually(
        lambda: [call for call in calls_of(stack, team) if call["ended_at"]], "the call has ended", within_s=10
    )
    assert call["state"] == "cancelled"
    assert budget(stack, team) == (call["cost_usd"], 0)


# --- The budget ---------------------------------------------------------------------------------------------


def test_calls_in_jobs_are_held_to_the_same_budget(stack: Stack, tenants: Tenants) -> None:
    # A credit is worth ten cents, an answer almost a dollar.
    team = tenants.team([tenants.group("ok", **DOLLAR_MODEL)], credits_allocated=8)
    job = team.open_job()

    first = team.call(job, max_tokens=COMPLETION_TOKENS)
    refused = team.call(job, max_tokens=COMPLETION_TOKENS)

    assert first.status_code == 200, first.text
    assert (refused.status_code, refused.json()["code"]) == (402, "budget_exhausted")
    assert "budget" in refused.json()["detail"]
    assert len(calls_of(stack, team)) == 1
    assert budget(stack, team) == (ANSWER_USD, 0)


def test_credits_raise_the_budget_at_once(stack: Stack, tenants: Tenants) -> None:
    team = tenants.team([tenants.group("ok", **DOLLAR_MODEL)], credits_allocated=8)
    assert chat(team, max_tokens=COMPLETION_TOKENS).status_code == 200
    assert chat(team, max_tokens=COMPLETION_TOKENS).status_code == 402

    tenants.add_credits(team, 1)

    assert chat(team, max_tokens=COMPLETION_TOKENS).status_code == 200
    assert chat(team, max_tokens=COMPLETION_TOKENS).status_code == 402


def test_a_call_without_a_limit_is_estimated_by_the_setting(stack: Stack, tenants: Tenants) -> None:
    team = tenants.team([tenants.group("ok", **DOLLAR_MODEL)], credits_allocated=8)
    assert chat(team).status_code == 200

    refused = chat(team)

    assert refused.status_code == 402
    # 1000 tokens of an eighth of a dollar.
    assert "may cost $125.0" in refused.json()["error"]["message"]


def test_no_more_calls_pass_at_once_than_the_budget_covers(
    stack: Stack, tenants: Tenants, provider: FakeProvider
) -> None:
    team = tenants.team([tenants.group("slow-0.2s", **DOLLAR_MODEL)], credits_allocated=0)
    for round_ in range(1, 4):
        # Exactly eight answers' price, so that nothing is left for one more.
        tenants.add_credits(team, int(8 * ANSWER_USD / Decimal("0.10")))
        with ThreadPoolExecutor(64) as clients:
            answers = list(clients.map(lambda _: chat(team, max_tokens=COMPLETION_TOKENS), range(64)))

        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200] * 8 + [402] * 56
        assert budget(stack, team) == (8 * round_ * ANSWER_USD, 0)
    assert_ledger_is_sound(stack)
