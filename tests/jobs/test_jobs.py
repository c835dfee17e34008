"""Opening and ending jobs: what is held, what is charged, and that nothing happens twice."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing.models import CreditAccount, CreditHold, LedgerEntry
from jobs.models import Call, CallProcess, Job
from jobs.services.calls import sweep_lost_calls
from jobs.services.jobs import expire_jobs
from tests.support.api import Tenant, make_tenant

ENDED: dict[str, dict[str, Any]] = {
    "succeeded": {
        "state": "succeeded",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost_usd": "0.0015",
        "latency_ms": 100,
    },
    "failed": {"state": "failed", "cause": "timeout", "error": "LLM call failed: The model did not answer in time"},
}


def open_job(tenant: Tenant, **fields: Any) -> str:
    answer = tenant.api.post("/api/jobs/create", {"team_id": tenant.team_id, "job_type": "résumé", **fields})
    assert answer.status_code == 200, answer.json()
    assert set(answer.json()) == {"job_id", "status", "created_at"}
    return str(answer.json()["job_id"])


def add_call(job: str, state: str, **fields: Any) -> Call:
    ended = {**ENDED[state], "ended_at": timezone.now()} if state in ENDED else {"state": state}
    deadline = {"deadline_at": timezone.now() + timedelta(minutes=2)}
    Job.objects.filter(pk=job).update(status="in_progress")
    return Call.objects.create(
        job_id=job, team=Job.objects.get(pk=job).team, model_group="G", **{**deadline, **ended, **fields}
    )


@pytest.fixture
def hasty(settings: Any) -> None:
    """Processes are lost soon: no longer than PostgreSQL itself has been running, whose restart is an excuse."""
    settings.WORKER_LOST_AFTER_S = 2


def complete(tenant: Tenant, job: str, status: str = "completed", **fields: Any) -> Any:
    return tenant.api.post(f"/api/jobs/{job}/complete", {"status": status, **fields})


def numbers(tenant: Tenant) -> tuple[int, int]:
    account = CreditAccount.objects.get(pk=tenant.team_pk)
    return account.used, account.held


def test_a_job_holds_a_credit_until_it_is_completed(tenant: Tenant) -> None:
    job = open_job(tenant)
    balance = tenant.api.get(f"/api/credits/teams/{tenant.team_id}/balance").json()
    assert (balance["credits_remaining"], balance["credits_held"], balance["credits_available"]) == (10, 1, 9)

    costs = complete(tenant, job).json()["costs"]

    assert (costs["credit_applied"], costs["credits_remaining"]) == (True, 9)
    assert numbers(tenant) == (1, 0)
    entry = LedgerEntry.objects.get(job_id=job)
    assert (entry.kind, entry.amount, entry.reason) == ("deduction", -1, "Job résumé completed successfully")


def test_the_completion_sums_its_calls(tenant: Tenant) -> None:
    job = open_job(tenant)
    for latency_ms in (100, 200):
        add_call(job, "succeeded", purpose="parsing", latency_ms=latency_ms)

    body = complete(tenant, job, metadata={"b": 2}).json()

    assert body["costs"] == {
        "total_calls": 2, "successful_calls": 2, "failed_calls": 0, "superseded_calls": 0, "cancelled_calls": 0, "running_calls": 0,
        "total_tokens": 30, "total_cost_usd": 0.003, "avg_latency_ms": 150, "credit_applied": True, "credits_remaining": 9,
    }  # fmt: skip
    assert set(body["calls"][0]) == {"call_id", "purpose", "model_group", "tokens", "latency_ms", "error"}
    assert b"cost_usd" not in complete(tenant, job).content.replace(b"total_cost_usd", b"")


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_ending_a_job_again_changes_nothing_and_says_the_same(tenant: Tenant, status: str) -> None:
    job, other = open_job(tenant), open_job(tenant)
    first = complete(tenant, job, status, metadata={"a": 1})
    complete(tenant, other)

    second = complete(tenant, job, status, metadata={"a": 2}, error_message="other")

    assert first.content == second.content
    assert numbers(tenant) == (2 if status == "completed" else 1, 0)
    assert tenant.api.get(f"/api/jobs/{job}").json()["metadata"] == {"a": 1}


@pytest.mark.parametrize(("first", "second"), [("completed", "failed"), ("failed", "completed")])
def test_the_other_end_is_refused(tenant: Tenant, first: str, second: str) -> None:
    job = open_job(tenant)
    complete(tenant, job, first)
    before = numbers(tenant)

    answer = complete(tenant, job, second)

    assert (answer.status_code, answer.json()["code"]) == (409, "job_already_ended")
    assert answer.json()["detail"] == f"Job is already {first}; it cannot become {second}"
    assert numbers(tenant) == before


def test_a_failed_call_waives_the_charge_and_one_that_was_retried_does_not(tenant: Tenant) -> None:
    waived, charged = open_job(tenant), open_job(tenant)
    add_call(waived, "failed")
    add_call(charged, "succeeded", retry_of=add_call(charged, "failed"))

    first, second = (complete(tenant, job).json()["costs"] for job in (waived, charged))

    assert (first["failed_calls"], first["credit_applied"]) == (1, False)
    assert (second["failed_calls"], second["superseded_calls"], second["credit_applied"]) == (0, 1, True)
    assert numbers(tenant) == (1, 0)


def test_a_failed_job_costs_nothing_and_keeps_its_reason(tenant: Tenant) -> None:
    job = open_job(tenant)
    add_call(job, "succeeded")

    costs = complete(tenant, job, "failed", error_message="the client's").json()["costs"]

    assert (costs["credit_applied"], costs["credits_remaining"], costs["total_cost_usd"]) == (False, 10, 0.0015)
    assert tenant.api.get(f"/api/jobs/{job}").json()["error_message"] == "the client's"
    assert CreditHold.objects.get(job_id=job).state == "released"


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_running_call_keeps_a_job_from_completing_but_not_from_failing(tenant: Tenant, state: str) -> None:
    job = open_job(tenant)
    call = add_call(job, state)

    refused = complete(tenant, job)
    assert (refused.status_code, refused.json()["code"]) == (409, "call_in_progress")
    assert Job.objects.get(pk=job).status == "in_progress"
    assert numbers(tenant) == (0, 1)

    failed = complete(tenant, job, "failed")
    assert failed.json()["costs"]["running_calls"] == 1
    Call.objects.filter(pk=call.pk).update(**ENDED["succeeded"], ended_at=timezone.now(), is_late=True)
    assert complete(tenant, job, "failed").content == failed.content
    assert tenant.api.get(f"/api/jobs/{job}").json()["total_cost_usd"] == 0.0015
    assert numbers(tenant) == (0, 0)


def test_metadata_is_merged_within_its_limit(tenant: Tenant) -> None:
    job = open_job(tenant, metadata={"a": 1, "b": {"c": 1}})
    too_much = complete(tenant, job, metadata={"x": "y" * 16_370})
    assert (too_much.status_code, Job.objects.get(pk=job).status) == (400, "pending")

    complete(tenant, job, metadata={"b": 2, "d": None})

    assert tenant.api.get(f"/api/jobs/{job}").json()["metadata"] == {"a": 1, "b": 2, "d": None}


def test_the_list_is_filtered_paged_and_stable(tenant: Tenant) -> None:
    jobs = [open_job(tenant) for _ in range(5)]
    complete(tenant, jobs[0])
    path = f"/api/teams/{tenant.team_id}/jobs"

    page = tenant.api.get(path, limit=2, offset=2)

    # All of them in one transaction, that is at one time: then the id decides.
    assert [job["job_id"] for job in page.json()["jobs"]] == sorted(jobs, reverse=True)[2:4]
    assert page.json()["total_jobs"] == 5
    for rel, offset in (("first", 0), ("prev", 0), ("next", 4), ("last", 4)):
        assert f'limit=2&offset={offset}>; rel="{rel}"' in page.headers["Link"]
    done = tenant.api.get(path, status="completed").json()
    assert ([job["job_id"] for job in done["jobs"]], done["total_jobs"]) == ([jobs[0]], 1)
    assert done["jobs"][0]["credit_applied"] is True


def test_usage_counts_a_periods_jobs(tenant: Tenant) -> None:
    jobs = [open_job(tenant) for _ in range(3)] + [open_job(tenant, job_type="chat")]
    add_call(jobs[0], "succeeded")
    complete(tenant, jobs[0])
    complete(tenant, jobs[1], "failed")
    for job, moment in zip(
        jobs,
        ("2025-10-01T00:00:00", "2025-10-31T23:59:59.999999", "2025-11-01T00:00:00", "2025-10-15T12:00:00"),
        strict=True,
    ):
        Job.objects.filter(pk=job).update(created_at=f"{moment}+00:00")

    body = tenant.api.get(f"/api/teams/{tenant.team_id}/usage", period="2025-10").json()

    assert body["summary"] == {
        "total_jobs": 3, "successful_jobs": 1, "failed_jobs": 1, "total_cost_usd": 0.0015, "total_tokens": 15,
        "avg_cost_per_job": 0.0005, "credits_used": 1,
    }  # fmt: skip
    assert body["job_types"] == {"chat": {"count": 1, "cost_usd": 0}, "résumé": {"count": 2, "cost_usd": 0.0015}}
    day = tenant.api.get(f"/api/teams/{tenant.team_id}/usage", period="2025-10-31").json()
    assert (day["period"], day["summary"]["total_jobs"]) == ("2025-10-31", 1)
    assert tenant.api.get(f"/api/teams/{tenant.team_id}/usage", period="2025-12").json()["summary"]["total_jobs"] == 0


def test_an_organizations_usage_is_its_teams(operator: Any, tenant: Tenant) -> None:
    open_job(tenant)
    open_job(make_tenant("b"))

    body = operator.get(f"/api/organizations/{tenant.organization_id}/usage").json()

    assert body["summary"]["total_jobs"] == 1
    assert list(body["teams"]) == [tenant.team_id]


def test_a_job_past_its_time_is_failed_and_its_credit_given_back(tenant: Tenant) -> None:
    late, busy, fresh = (open_job(tenant) for _ in range(3))
    add_call(busy, "running")
    Job.objects.filter(pk__in=[late, busy]).update(expires_at=timezone.now() - timedelta(seconds=1))

    assert (expire_jobs(), expire_jobs()) == (1, 0)

    assert [Job.objects.get(pk=job).status for job in (late, busy, fresh)] == ["failed", "in_progress", "pending"]
    assert CreditHold.objects.get(job_id=late).state == "expired"
    assert numbers(tenant) == (0, 2)


@pytest.mark.parametrize(
    ("state", "heartbeat_age_s", "overdue", "cause"),
    [
        ("running", 60, False, "interrupted"),
        ("running", None, False, "interrupted"),
        ("running", 0, True, "deadline"),
        ("queued", None, True, "not_started"),
        ("running", 0, False, None),
        ("queued", 20, False, "interrupted"),
        ("queued", 0, False, None),
    ],
)
def test_a_call_that_nobody_runs_is_failed(
    tenant: Tenant, hasty: None, state: str, heartbeat_age_s: int | None, overdue: bool, cause: str | None
) -> None:
    job, process = open_job(tenant), uuid.uuid4()
    if heartbeat_age_s is not None:
        beat = timezone.now() - timedelta(seconds=heartbeat_age_s)
        CallProcess.objects.create(id=process, name="w", started_at=beat, heartbeat_at=beat)
    deadline = timezone.now() + timedelta(seconds=-60 if overdue else 60)
    answers_for_it = None if (state, heartbeat_age_s) == ("queued", None) else process
    call = add_call(job, state, process_id=answers_for_it, deadline_at=deadline)
    Call.objects.update(created_at=timezone.now() - timedelta(minutes=1))

    assert len(sweep_lost_calls()) == (cause is not None)

    call.refresh_from_db()
    ended_as = "interrupted" if cause == "interrupted" else "failed"
    assert (call.state, call.cause) == ((ended_as, cause) if cause else (state, ""))
    assert call.error.startswith("LLM call failed: " if cause else "")
    assert call.is_late is False


def test_a_call_that_has_just_been_made_is_not_lost(tenant: Tenant, hasty: None) -> None:
    call = add_call(open_job(tenant), "queued", process_id=uuid.uuid4())

    assert sweep_lost_calls() == []
    call.refresh_from_db()
    assert call.state == "queued"


def test_a_call_swept_after_its_jobs_end_is_late(tenant: Tenant, hasty: None) -> None:
    job = open_job(tenant)
    call = add_call(job, "running", process_id=uuid.uuid4())
    Call.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    before = complete(tenant, job, "failed").content

    sweep_lost_calls()

    call.refresh_from_db()
    assert (call.cause, call.is_late) == ("interrupted", True)
    assert complete(tenant, job, "failed").content == before
