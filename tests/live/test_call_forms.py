"""Calls that nobody waits for, and jobs of one call: what is answered at once, and what is there afterwards."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.fake_provider import ANSWER, LEAKED_URL
from tests.support.live import ANSWER_COST_USD, MESSAGES, LiveTeam, MakeStack, Tenants
from tests.support.stack import FakeProvider, Stack, eventually

FETCHED_ANSWER_TTL_S = 1


@pytest.fixture(scope="module")
def brisk(make_stack: MakeStack) -> Iterator[Stack]:
    """Answers that were fetched go soon."""
    with make_stack("web", "worker", FETCHED_ANSWER_TTL_S=str(FETCHED_ANSWER_TTL_S)) as running:
        yield running


@pytest.fixture(scope="module")
def brisk_tenants(brisk: Stack, provider: FakeProvider) -> Tenants:
    return Tenants.on(brisk, provider)


def ask(team: LiveTeam, job: str, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    return team.call(job, headers=headers, **fields)


def fetched(team: LiveTeam, location: str) -> dict[str, Any]:
    answer = team.api.get(location)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ended(team: LiveTeam, location: str) -> dict[str, Any]:
    return eventually(
        lambda: call if (call := fetched(team, location))["state"] not in ("queued", "running") else None,
        "the call ends",
        within_s=15,
    )


def one_call(team: LiveTeam, **fields: Any) -> httpx.Response:
    body = {"team_id": team.team_id, "job_type": "one", "model_group": team.group, "messages": MESSAGES, **fields}
    return team.api.post("/api/jobs/create-and-call", json=body)


@pytest.mark.parametrize(("fields", "headers"), [({"async": True}, {}), ({}, {"Prefer": "respond-async"})])
def test_an_asynchronous_call_is_accepted_and_its_answer_fetched(
    tenants: Tenants, provider: FakeProvider, fields: dict[str, Any], headers: dict[str, str]
) -> None:
    held = f"held/{uuid.uuid4().hex}"
    team = tenants.team([tenants.group(held)])
    job = team.open_job()

    accepted = ask(team, job, headers=headers, **fields)

    assert accepted.status_code == 202, accepted.text
    call_id = accepted.json()["call_id"]
    assert accepted.json() == {"call_id": call_id, "job_id": job, "state": "queued"}
    location = accepted.headers["Location"]
    assert location == f"/api/jobs/{job}/calls/{call_id}"
    provider.wait_for(held)
    assert fetched(team, location)["state"] == "running"
    assert team.complete(job).status_code == 409
    provider.release(held)
    call = ended(team, location)
    assert (call["state"], call["response"]) == ("succeeded", {"content": ANSWER, "finish_reason": "stop"})
    assert team.complete(job).json()["costs"]["credit_applied"] is True


def test_an_asynchronous_call_that_fails_says_why_and_names_no_model(tenants: Tenants) -> None:
    team = tenants.team([tenants.group("status-400")])
    accepted = ask(team, team.open_job(), **{"async": True})

    call = ended(team, accepted.headers["Location"])

    assert (call["state"], call["code"]) == ("failed", "llm_request_refused")
    assert call["error"].startswith("LLM call failed: ")
    assert LEAKED_URL not in str(call)
    assert "response" not in call or call["response"] is None


def test_an_answer_is_erased_soon_after_it_was_fetched(brisk: Stack, brisk_tenants: Tenants) -> None:
    team = brisk_tenants.team([brisk_tenants.group("ok")])
    location = ask(team, team.open_job(), **{"async": True}).headers["Location"]
    assert ended(team, location)["response"]["content"] == ANSWER
    # A client whose connection broke may ask once more.
    assert fetched(team, location)["response"]["content"] == ANSWER

    time.sleep(FETCHED_ANSWER_TTL_S)
    brisk.manage("shell", "-c", "from jobs.services.calls import erase_contents; erase_contents()")

    assert fetched(team, location)["state"] == "succeeded"
    assert not fetched(team, location).get("response")
    assert brisk.query("SELECT count(*) AS kept FROM jobs_callcontent")[0]["kept"] == 0


def test_another_teams_call_is_not_to_be_seen(tenants: Tenants) -> None:
    group = tenants.group("ok")
    owner, stranger = tenants.team([group]), tenants.team([group])
    location = ask(owner, owner.open_job(), **{"async": True}).headers["Location"]

    refused, unknown = stranger.api.get(location), stranger.api.get(location.rpartition("/")[0] + f"/{uuid.uuid4()}")

    assert [refused.status_code, unknown.status_code] == [404, 404]
    assert refused.json()["detail"] == unknown.json()["detail"]


def test_a_job_lists_its_calls_without_their_models(tenants: Tenants) -> None:
    group, failing = tenants.group("ok"), tenants.group("status-400")
    team = tenants.team([group, failing])
    job = team.open_job()
    team.call(job, purpose="first")
    team.call(job, purpose="second", model_group=failing)

    listed = team.api.get(f"/api/jobs/{job}/calls", params={"limit": 1000})

    assert listed.status_code == 200
    assert {call["purpose"]: call["state"] for call in listed.json()["calls"]} == {
        "first": "succeeded",
        "second": "failed",
    }
    assert "secret-model" not in listed.text
    assert LEAKED_URL not in listed.text


def test_a_job_of_one_call_is_made_called_and_charged_in_one_go(stack: Stack, tenants: Tenants) -> None:
    team = tenants.team([tenants.group("ok")])

    answer = one_call(team, metadata={"document": "a"}, user_id="user_1")

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["response"] == {"content": ANSWER, "finish_reason": "stop"}
    assert body["status"] == "completed"
    assert body["costs"] == {
        "total_cost_usd": float(ANSWER_COST_USD),
        "credit_applied": True,
        "credits_remaining": 99,
    }
    job = team.api.get(f"/api/jobs/{body['job_id']}").json()
    assert (job["status"], job["metadata"], job["credit_applied"]) == ("completed", {"document": "a"}, True)


def test_a_job_of_one_call_that_fails_costs_nothing(tenants: Tenants) -> None:
    team = tenants.team([tenants.group("status-400")])

    assert one_call(team).status_code == 400

    [job] = team.api.get(f"/api/teams/{team.team_id}/jobs").json()["jobs"]
    assert job["status"] == "failed"
    assert (team.balance()["credits_remaining"], team.balance()["credits_held"]) == (100, 0)


def test_without_a_credit_there_is_no_job_of_one_call(tenants: Tenants, provider: FakeProvider) -> None:
    unused = f"ok/{uuid.uuid4().hex}"
    team = tenants.team([tenants.group(unused)], credits_allocated=0)

    refused = one_call(team)

    assert (refused.status_code, refused.json()["code"]) == (402, "insufficient_credits")
    assert team.api.get(f"/api/teams/{team.team_id}/jobs").json()["jobs"] == []
    assert provider.requests(unused) == 0


def test_an_asynchronous_job_of_one_call_ends_by_itself(tenants: Tenants) -> None:
    team = tenants.team([tenants.group("ok")])
    accepted = one_call(team, **{"async": True})
    assert accepted.status_code == 202

    assert ended(team, accepted.headers["Location"])["state"] == "succeeded"
    job_path = f"/api/jobs/{accepted.json()['job_id']}"
    eventually(lambda: team.api.get(job_path).json()["status"] == "completed", "the job ends", within_s=10)
    assert team.balance()["credits_remaining"] == 99
