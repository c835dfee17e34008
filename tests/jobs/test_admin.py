"""The admin of jobs, calls and attempts."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from jobs.models import Attempt, Call, CallProcess, Job
from jobs.services.jobs import end_job, open_job
from tenancy.queries.principals import TeamRef
from tests.support.admin import AdminClient
from tests.support.api import Tenant


@pytest.fixture
def superuser(db: None) -> AdminClient:
    return AdminClient()


@pytest.fixture
def job(tenant: Tenant) -> Job:
    team = TeamRef(tenant.team_pk, tenant.team_id, tenant.organization_id, False, None)
    opened = open_job(team=team, virtual_key_id=None, job_type="resume", user_id="u1", metadata={"doc": "d1"})
    return Job.objects.get(id=opened.job_id)


@pytest.fixture
def call(job: Job) -> Call:
    now = timezone.now()
    call = Call.objects.create(
        job=job,
        team=job.team,
        model_group="Agent",
        purpose="parsing",
        state="failed",
        cause="timeout",
        error="LLM call failed: x",
        cost_usd=Decimal("0.000000000001"),
        started_at=now,
        ended_at=now,
        deadline_at=now,
    )
    Attempt.objects.create(
        call=call,
        sequence=1,
        model_name="gpt-4o",
        outcome="failed",
        cause="timeout",
        error_class="Timeout",
        latency_ms=5,
        started_at=now,
    )
    return call


def test_a_jobs_page_has_its_calls_and_its_credit(job: Job, call: Call, superuser: AdminClient) -> None:
    html = superuser.html("jobs_job_change", job.pk)
    assert f"/admin/jobs/call/{call.pk}/change/" in html
    assert "held" in html
    assert "0.000000000001" in html
    end_job(job_id=job.id, team_pk=None, status="failed", metadata={}, error_message="", actor="test")
    assert "released" in superuser.html("jobs_job_change", job.pk)


def test_a_calls_page_has_its_attempts(job: Job, call: Call, superuser: AdminClient) -> None:
    html = superuser.html("jobs_call_change", call.pk)
    assert "gpt-4o" in html
    assert f"/admin/jobs/job/{job.pk}/change/" in html


def test_failures_can_be_filtered_by_cause(call: Call, superuser: AdminClient) -> None:
    for page in ("jobs_call_changelist", "jobs_attempt_changelist"):
        assert superuser.get(page, cause="timeout").context["cl"].result_count == 1
        assert superuser.get(page, cause="rate_limited").context["cl"].result_count == 0


def test_jobs_are_found_by_team_and_by_the_apps_own_user(job: Job, tenant: Tenant, superuser: AdminClient) -> None:
    for term in (tenant.team_id, "u1", "resume", str(job.id)):
        assert superuser.get("jobs_job_changelist", q=term).context["cl"].result_count == 1
    assert superuser.get("jobs_job_changelist", q="nobody").context["cl"].result_count == 0


def test_a_users_id_may_be_a_uuid(tenant: Tenant, superuser: AdminClient) -> None:
    team = TeamRef(tenant.team_pk, tenant.team_id, tenant.organization_id, False, None)
    user_id = str(uuid.uuid4())
    open_job(team=team, virtual_key_id=None, job_type="resume", user_id=user_id, metadata={})
    assert superuser.get("jobs_job_changelist", q=user_id).context["cl"].result_count == 1


def test_a_silent_worker_is_shown_as_dead(superuser: AdminClient) -> None:
    now = timezone.now()
    alive = CallProcess.objects.create(id=uuid.uuid4(), name="w1", started_at=now, heartbeat_at=now)
    assert 'title="True"' in superuser.html("jobs_callprocess_change", alive.pk)
    CallProcess.objects.update(heartbeat_at=now - timedelta(minutes=1))
    assert 'title="False"' in superuser.html("jobs_callprocess_change", alive.pk)
