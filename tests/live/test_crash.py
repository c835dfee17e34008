"""Processes die in the middle of things; what was promised holds all the same."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
from celery import Celery

from tests.live.ledger_rules import assert_ledger_is_sound
from tests.support.fake_provider import ANSWER
from tests.support.live import ANSWER_COST_USD, MESSAGES, LiveTeam, MakeStack, Tenants
from tests.support.stack import FakeProvider, Stack, eventually

#: The worker's heartbeat is lost after 10 s, the sweeper comes every 5 s, web looks every second.
INTERRUPTED_WITHIN_S = 20
#: The sweeper of jobs comes every 30 s.
EXPIRED_WITHIN_S = 45
REFUSED_WITHIN_S = 8


@pytest.fixture(scope="module")
def fragile(make_stack: MakeStack) -> Iterator[Stack]:
    with make_stack("web", "worker", "maintenance", "beat") as running:
        yield running


@pytest.fixture(autouse=True)
def _whole(fragile: Stack) -> None:
    """Whatever an earlier test has killed runs again."""
    fragile.ensure("redis", "web", "worker", "maintenance", "beat")


@pytest.fixture(scope="module")
def fragile_tenants(fragile: Stack, provider: FakeProvider) -> Tenants:
    return Tenants.on(fragile, provider)


@pytest.fixture
def held(provider: FakeProvider) -> Iterator[str]:
    """A behaviour whose answers wait until the test lets them go."""
    name = f"held/{uuid.uuid4().hex[:8]}"
    yield name
    provider.release(name)


@pytest.fixture
def team(fragile_tenants: Tenants, held: str) -> LiveTeam:
    """Its first group is the held one, its second answers at once."""
    return fragile_tenants.team([fragile_tenants.group(held), fragile_tenants.group("ok")])


@pytest.fixture(scope="module")
def doomed(fragile: Stack, fragile_tenants: Tenants) -> tuple[LiveTeam, str]:
    """A job that nobody completes, of a web process that gives jobs a second to live."""
    team = fragile_tenants.team()
    fragile.start("web-short-lived", JOB_TTL_S="1")
    hasty = replace(team, api=fragile.client(team.key, web="web-short-lived"))
    job = hasty.open_job()
    fragile.kill("web-short-lived")
    return team, job


@pytest.fixture(autouse=True)
def _doom_early(doomed: tuple[LiveTeam, str]) -> None:
    """So that its time has come when its test looks."""


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def call_of(stack: Stack, job: str) -> dict[str, Any]:
    (call,) = stack.query("SELECT * FROM jobs_call WHERE job_id = %s", job)
    return call


def ended(stack: Stack, job: str, *, within_s: float) -> dict[str, Any]:
    """The job's one call, once it has ended."""

    def look() -> dict[str, Any] | None:
        call = call_of(stack, job)
        return call if call["state"] in ("succeeded", "failed") else None

    return eventually(look, f"the call of {job} has ended", within_s=within_s, log=stack.log("worker")) or {}


def in_flight(
    team: LiveTeam, job: str, provider: FakeProvider, held: str, background: ThreadPoolExecutor
) -> Future[httpx.Response]:
    """A call that has reached the provider, and waits."""
    answer = background.submit(team.call, job)
    provider.wait_for(held)
    return answer


def test_a_killed_worker_fails_its_calls_as_interrupted(
    fragile: Stack, team: LiveTeam, provider: FakeProvider, held: str, background: ThreadPoolExecutor
) -> None:
    job = team.open_job()
    answer = in_flight(team, job, provider, held, background)

    fragile.kill("worker")
    killed_at = time.monotonic()

    refused = answer.result(INTERRUPTED_WITHIN_S + 5)
    assert time.monotonic() - killed_at < INTERRUPTED_WITHIN_S
    assert (refused.status_code, refused.json()["code"]) == (503, "call_interrupted")
    assert refused.json()["detail"] == "LLM call failed: The call was interrupted"
    interrupted = call_of(fragile, job)
    assert (interrupted["state"], interrupted["cause"]) == ("interrupted", "interrupted")

    fragile.start("worker")
    other_group = team_group(fragile, team, 1)
    retried = team.call(job, model_group=other_group, retry_of=str(interrupted["id"]))
    assert retried.status_code == 200, retried.text
    assert team.complete(job).json()["costs"]["credit_applied"] is True


def team_group(stack: Stack, team: LiveTeam, position: int) -> str:
    rows = stack.query(
        """
        SELECT g.group_name FROM modelgroups_groupassignment a JOIN modelgroups_modelgroup g ON g.id = a.group_id
        JOIN tenancy_team t ON t.id = a.team_id WHERE t.team_id = %s ORDER BY a.position
        """,
        team.team_id,
    )
    return str(rows[position]["group_name"])


def test_a_killed_web_process_loses_no_outcome(
    fragile: Stack, team: LiveTeam, provider: FakeProvider, held: str, background: ThreadPoolExecutor
) -> None:
    job = team.open_job()
    fragile.start("web-2")
    elsewhere = replace(team, api=fragile.client(team.key, web="web-2"))
    answer = in_flight(elsewhere, job, provider, held, background)

    fragile.kill("web-2")
    with pytest.raises(httpx.TransportError):
        answer.result(10)
    provider.release(held)

    call = ended(fragile, job, within_s=10)
    assert (call["state"], call["cost_usd"]) == ("succeeded", ANSWER_COST_USD)
    costs = team.complete(job).json()["costs"]
    assert (costs["successful_calls"], costs["credit_applied"]) == (1, True)


def test_a_client_that_leaves_loses_no_outcome(
    fragile: Stack, team: LiveTeam, provider: FakeProvider, held: str, background: ThreadPoolExecutor
) -> None:
    job = team.open_job()
    impatient = replace(team, api=fragile.client(team.key, timeout_s=1))
    with pytest.raises(httpx.ReadTimeout):
        impatient.call(job)
    assert team.complete(job).status_code == 409

    provider.release(held)

    assert ended(fragile, job, within_s=10)["state"] == "succeeded"
    assert team.complete(job).json()["costs"]["credit_applied"] is True


def test_a_result_after_the_job_s_end_is_recorded_and_costed_but_not_charged(
    fragile: Stack, team: LiveTeam, provider: FakeProvider, held: str, background: ThreadPoolExecutor
) -> None:
    job = team.open_job()
    answer = in_flight(team, job, provider, held, background)
    running = team.complete(job)
    assert (running.status_code, running.json()["code"]) == (409, "call_in_progress")
    failed = team.complete(job, "failed").json()
    assert (failed["costs"]["running_calls"], failed["costs"]["credit_applied"]) == (1, False)

    provider.release(held)

    assert answer.result(10).json()["response"]["content"] == ANSWER
    call = ended(fragile, job, within_s=10)
    assert (call["state"], call["is_late"], call["cost_usd"]) == ("succeeded", True, ANSWER_COST_USD)
    assert team.complete(job, "failed").json() == failed
    assert team.api.get(f"/api/jobs/{job}").json()["total_cost_usd"] == pytest.approx(float(ANSWER_COST_USD))
    assert (team.balance()["credits_used"], team.balance()["credits_held"]) == (0, 0)


def test_a_task_delivered_several_times_runs_once(
    fragile: Stack, team: LiveTeam, provider: FakeProvider, held: str, background: ThreadPoolExecutor
) -> None:
    job = team.open_job()
    answer = in_flight(team, job, provider, held, background)
    call_id = str(call_of(fragile, job)["id"])

    with Celery("again", broker=fragile.redis_url, set_as_current=False) as broker:
        for _ in range(5):
            broker.send_task(
                "jobs.run_call",
                kwargs={"call_id": call_id, "messages": MESSAGES, "parameters": {}, "reply_to": "replies:nobody"},
                queue="calls",
                ignore_result=True,
            )
    refusal = f"call {call_id} was not to be claimed"
    log = fragile.log("worker")
    eventually(lambda: log.read_text().count(refusal) == 5, "five refusals", within_s=10, log=log)
    provider.release(held)

    assert answer.result(10).status_code == 200
    assert provider.requests(held) == 1
    assert call_of(fragile, job)["cost_usd"] == ANSWER_COST_USD
    assert len(fragile.query("SELECT 1 FROM jobs_attempt WHERE call_id = %s", call_id)) == 1


def test_a_job_past_its_time_to_live_is_failed_and_its_hold_released(
    fragile: Stack, doomed: tuple[LiveTeam, str]
) -> None:
    team, job = doomed

    def is_failed() -> bool:
        return bool(team.api.get(f"/api/jobs/{job}").json()["status"] == "failed")

    eventually(is_failed, "the sweeper has failed the job", within_s=EXPIRED_WITHIN_S, log=fragile.log("maintenance"))
    assert "time-to-live" in team.api.get(f"/api/jobs/{job}").json()["error_message"]
    assert (team.balance()["credits_held"], team.balance()["credits_used"]) == (0, 0)
    (hold,) = fragile.query("SELECT state FROM billing_credithold WHERE job_id = %s", job)
    assert hold["state"] == "expired"
    assert team.complete(job).status_code == 409
    assert_ledger_is_sound(fragile)


def test_without_redis_a_call_is_refused_and_leaves_no_trace(
    fragile: Stack, team: LiveTeam, provider: FakeProvider, held: str
) -> None:
    job, group = team.open_job(), team_group(fragile, team, 1)
    assert team.call(job, model_group=group).status_code == 200
    fragile.kill("redis")

    started = time.monotonic()
    refused = team.call(job, model_group=group)

    assert time.monotonic() - started < REFUSED_WITHIN_S
    assert refused.status_code == 503, refused.text
    assert int(refused.headers["Retry-After"]) > 0
    assert len(fragile.query("SELECT 1 FROM jobs_call WHERE job_id = %s", job)) == 1
    assert team.api.get("/health").status_code == 503
    assert team.api.get("/health").json()["redis"] == "unreachable"
    assert team.open_job()  # which needs no Redis

    fragile.start("redis")

    def is_answered() -> bool:
        return team.call(job, model_group=group).status_code == 200

    eventually(is_answered, "calls work again", within_s=30, log=fragile.log("worker"))
    assert team.api.get("/health").status_code == 200
    assert team.complete(job).json()["costs"]["credit_applied"] is True


def test_an_answer_lost_with_redis_is_found_under_its_key(
    fragile: Stack, team: LiveTeam, provider: FakeProvider, held: str, background: ThreadPoolExecutor
) -> None:
    job, key = team.open_job(), {"Idempotency-Key": "once"}
    answer = background.submit(team.call, job, headers=key)
    provider.wait_for(held)

    fragile.kill("redis")
    provider.release(held)
    lost = answer.result(20)
    again = team.call(job, headers=key)
    fragile.start("redis")

    assert (lost.status_code, lost.json()["code"]) == (503, "answer_lost")
    assert call_of(fragile, job)["state"] == "succeeded"
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert again.json()["response"]["content"] == ANSWER
    assert provider.requests(held) == 1


def test_redis_may_restart_while_a_call_is_in_flight(
    fragile: Stack, team: LiveTeam, provider: FakeProvider, held: str, background: ThreadPoolExecutor
) -> None:
    job = team.open_job()
    answer = in_flight(team, job, provider, held, background)

    fragile.kill("redis")
    fragile.start("redis")
    provider.release(held)

    assert answer.result(20).status_code in (200, 503)
    assert ended(fragile, job, within_s=10)["state"] == "succeeded"
    group = team_group(fragile, team, 1)

    def is_answered() -> bool:
        return team.call(job, model_group=group).status_code == 200

    eventually(is_answered, "calls work again", within_s=30, log=fragile.log("worker"))
