"""Events about jobs and calls: one per end, in the transaction that ended them, and only for who wants them."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from config.foundation import encryption
from jobs.models import Call, CallContent, Job
from jobs.services.calls import sweep_lost_calls
from jobs.services.jobs import expire_jobs
from tests.jobs.test_jobs import add_call, complete, open_job
from tests.support.api import Tenant, make_tenant
from tests.support.events import events, subscribe, subscribe_organization

SECRET = "Anna Muster, born in 1984"


def test_a_completed_job_is_told_of_with_its_charge(tenant: Tenant) -> None:
    subscribe(tenant)
    job = open_job(tenant, user_id="u7", metadata={"text": SECRET})
    add_call(job, "succeeded")
    assert events() == []

    ended = complete(tenant, job).json()

    (event,) = events()
    assert event == {
        "type": "job.completed",
        "team_id": tenant.team_id,
        "organization_id": tenant.organization_id,
        "job_id": job,
        "job_type": "résumé",
        "user_id": "u7",
        "status": "completed",
        "credit_applied": True,
        "credits_remaining": ended["costs"]["credits_remaining"],
        "created_at": event["created_at"],
        "ended_at": event["ended_at"],
    }


def test_a_completed_job_with_a_failed_call_was_not_charged(tenant: Tenant) -> None:
    subscribe(tenant)
    job = open_job(tenant)
    add_call(job, "failed")
    complete(tenant, job)

    (event,) = events()
    assert (event["type"], event["credit_applied"], event["credits_remaining"]) == ("job.completed", False, 10)


def test_a_failed_job_is_told_of_without_what_its_client_wrote(tenant: Tenant) -> None:
    subscribe(tenant)
    job = open_job(tenant)
    complete(tenant, job, "failed", error_message=SECRET, metadata={"text": SECRET})

    (event,) = events()
    assert (event["type"], event["job_id"], event["credit_applied"]) == ("job.failed", job, False)
    assert SECRET not in json.dumps(event)


def test_an_expired_job_has_failed(tenant: Tenant) -> None:
    subscribe(tenant)
    job = open_job(tenant)
    Job.objects.update(expires_at=timezone.now())
    assert expire_jobs() == 1
    assert [(event["type"], event["job_id"]) for event in events()] == [("job.failed", job)]


def test_ending_a_job_again_tells_of_nothing(tenant: Tenant) -> None:
    subscribe(tenant)
    job = open_job(tenant)
    for _ in range(3):
        complete(tenant, job)
    complete(tenant, job, "failed")
    assert len(events()) == 1


def test_what_was_rolled_back_did_not_happen(tenant: Tenant) -> None:
    subscribe(tenant)
    job = open_job(tenant)
    with transaction.atomic():
        complete(tenant, job)
        assert len(events()) == 1
        transaction.set_rollback(True)
    assert events() == []


def test_without_an_endpoint_nothing_is_written(tenant: Tenant) -> None:
    other = make_tenant("b")
    subscribe(other)
    subscribe_organization(other)
    subscribe(tenant, "job.failed")
    complete(tenant, open_job(tenant))
    assert events() == []


def test_an_organizations_endpoint_hears_of_all_its_teams(tenant: Tenant) -> None:
    subscribe_organization(tenant, "job.completed")
    complete(tenant, open_job(tenant))
    assert [event["team_id"] for event in events()] == [tenant.team_id]


def test_two_endpoints_share_one_event(tenant: Tenant) -> None:
    subscribe(tenant)
    subscribe_organization(tenant)
    complete(tenant, open_job(tenant))
    assert len(events()) == 1


def make_asynchronous(call: Call) -> None:
    request = encryption.encrypt(SECRET.encode())
    CallContent.objects.create(call=call, request=request, published_at=timezone.now())


@pytest.mark.parametrize(("state", "cause"), [("succeeded", ""), ("failed", "timeout"), ("interrupted", "lost")])
def test_the_end_of_an_asynchronous_call_is_told_of(tenant: Tenant, state: str, cause: str) -> None:
    subscribe(tenant)
    call = add_call(open_job(tenant), "running", purpose="skills")
    make_asynchronous(call)

    Call.objects.filter(pk=call.pk).update(
        state=state, cause=cause, error=cause and "LLM call failed", ended_at=timezone.now(), prompt_tokens=7
    )

    (event,) = events()
    assert (event["type"], event["call_id"], event["job_id"]) == ("call.completed", str(call.pk), str(call.job_id))
    assert (event["state"], event["purpose"], event["prompt_tokens"]) == (state, "skills", 7)
    assert not {"model", "model_group", "model_name", "request", "answer", "cause"} & set(event)
    assert SECRET not in json.dumps(event)


def test_a_lost_asynchronous_call_is_told_of_by_the_sweeper(tenant: Tenant, settings: Any) -> None:
    subscribe(tenant, "call.completed")
    call = add_call(open_job(tenant), "running", deadline_at=timezone.now() - timedelta(hours=1))
    make_asynchronous(call)
    assert len(sweep_lost_calls()) == 1
    assert [event["state"] for event in events()] == ["failed"]


def test_other_calls_are_not(tenant: Tenant) -> None:
    """Their client has its answer. A team that has contents kept has rows for them, too."""
    subscribe(tenant)
    call = add_call(open_job(tenant), "running")
    kept = add_call(open_job(tenant), "running")
    CallContent.objects.create(call=kept, request=b"x", answer=b"y", erase_at=timezone.now())
    Call.objects.filter(pk__in=[call.pk, kept.pk]).update(state="succeeded", ended_at=timezone.now())
    assert events() == []


def test_a_late_result_does_not_end_a_call_again(tenant: Tenant) -> None:
    subscribe(tenant)
    call = add_call(open_job(tenant), "running")
    make_asynchronous(call)
    for cost in (1, 2):
        Call.objects.filter(pk=call.pk).update(
            state="failed", cause="timeout", ended_at=timezone.now(), cost_usd=cost, is_late=True
        )
    assert len(events()) == 1
