"""Calls that nobody waits for, and jobs of one call: what is answered at once, and what is there afterwards."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.fake_provider import ANSWER, LEAKED_URL
from tests.support.live import ANSWER_COST_USD, MESSAGES, LiveTeam, MakeStack, Tenants
from tests.support.stack import FakeProvider, Stack, eventually

FETCHED_ANSWER_TTL_S = 1
#: A word of Python's, which cannot be written as an argument's name.
ASYNC: dict[str, Any] = {"async": True}


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
    def has_ended() -> bool:
        return fetched(team, location)["state"] not in ("queued", "running")

    eventually(has_ended, "the call ends", within_s=15)
    return fetched(team, location)


def one_call(team: LiveTeam, **fields: Any) -> httpx.Response:
    body = {"team_id": team.team_id, "job_type": "one", "model_group": team.group, "messages": MESSAGES, **fields}
    return team.api.post("/api/jobs/create-and-call", json=body)


@pytest.mark.parametrize(("fields", "headers"), [(ASYNC, {}), ({}, {"Prefer": "respond-async"})])
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
    accepted = ask(team, team.open_job(), **ASYNC)

    call = ended(team, accepted.headers["Location"])

    assert (call["state"], call["code"]) == ("failed", "llm_request_refused")
    assert call["error"].startswith("LLM call failed: ")
    assert LEAKED_URL not in str(call)
    assert "response" not in call or call["response"] is None


def test_an_answer_is_erased_soon_after_it_was_fetched(brisk: Stack, brisk_tenants: Tenants) -> None:
    team = brisk_tenants.team([brisk_tenants.group("ok")])
    location = ask(team, team.open_job(), **ASYNC).headers["Location"]
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
    location = ask(owner, owner.open_job(), **ASYNC).headers["Location"]

    refused, unknown = stranger.api.get(location), stranger.api.get(location.rpartition("/")[0] + f"/{uuid.uuid4()}")

    assert [refused.status_code, unknown.status_code] == [404, 404]
    assert refused.json()["detail"] == unknown.json()["detail"]


def test_a_key_is_bound_to_the_form_of_the_answer(tenants: Tenants) -> None:
    team = tenants.team([tenants.group("ok")])
    job, key = team.open_job(), {"Idempotency-Key": uuid.uuid4().hex}
    assert team.call(job, headers={**key, "Prefer": "respond-async"}).status_code == 202

    refused = team.call(job, headers=key)

    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert len(team.api.get(f"/api/jobs/{job}/calls").json()["calls"]) == 1


def test_operators_see_what_was_tried_and_teams_do_not(tenants: Tenants) -> None:
    team = tenants.team([tenants.group("status-500", "ok")])
    job = team.open_job()
    path = f"/api/jobs/{job}/calls/{team.call(job).json()['call_id']}"

    attempts = tenants.operator.get(path).json()["attempts"]

    assert [attempt["model_name"] for attempt in attempts] == ["secret-model-0", "secret-model-1"]
    assert [attempt["outcome"] for attempt in attempts] == ["failed", "succeeded"]
    assert (attempts[0]["cause"], attempts[0]["http_status"]) == ("provider_error", 500)
    assert attempts[1]["cost_usd"] == float(ANSWER_COST_USD)
    assert "attempts" not in team.api.get(path).json()


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


def test_many_jobs_of_one_call_that_end_at_once_are_all_answered(tenants: Tenants, provider: FakeProvider) -> None:
    held = f"held/{uuid.uuid4().hex}"
    team = tenants.team([tenants.group(held)])
    with ThreadPoolExecutor(60) as threads:
        answers = [threads.submit(one_call, team) for _ in range(60)]
        provider.wait_for(held, 60)
        provider.release(held)

        assert [answer.result(60).status_code for answer in answers] == [200] * 60
    assert team.balance()["credits_remaining"] == 40


def test_an_asynchronous_job_of_one_call_ends_by_itself(tenants: Tenants) -> None:
    team = tenants.team([tenants.group("ok")])
    accepted = one_call(team, **ASYNC)
    assert accepted.status_code == 202

    assert ended(team, accepted.headers["Location"])["state"] == "succeeded"
    job_path = f"/api/jobs/{accepted.json()['job_id']}"
    eventually(lambda: team.api.get(job_path).json()["status"] == "completed", "the job ends", within_s=10)
    assert team.balance()["credits_remaining"] == 99
