"""A job's receipt: what was called, rescued and charged, and from what."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from billing.models import LedgerEntry
from jobs.models import Attempt, Call, Job
from jobs.queries.receipts import receipt
from jobs.services.jobs import end_job, open_job
from tenancy.queries.principals import TeamRef
from tests.support.admin import AdminClient
from tests.support.api import Tenant

PAGE = "jobs_job_receipt"
SCRIPT = "<script>alert(1)</script>"
MakeJob = Callable[..., Job]


@pytest.fixture
def superuser(db: None) -> AdminClient:
    return AdminClient()


@pytest.fixture
def make_job(tenant: Tenant) -> MakeJob:
    def make(**fields: Any) -> Job:
        team = TeamRef(tenant.team_pk, tenant.team_id, tenant.organization_id, False, None)
        given = {"job_type": "resume", "user_id": "u1", "metadata": {}, **fields}
        return Job.objects.get(id=open_job(team=team, virtual_key_id=None, **given).job_id)

    return make


def add_call(job: Job, *tried: tuple[str, str], purpose: str = "parse") -> Call:
    """A call with attempts of (model, cause); an empty cause is an answer."""
    now, cause = timezone.now(), tried[-1][1]
    cost = Decimal("0.0000015")
    call = Call.objects.create(
        job=job,
        team=job.team,
        model_group="Agent",
        purpose=purpose,
        state="failed" if cause else "succeeded",
        cause=cause,
        cost_usd=cost * len(tried),
        latency_ms=12,
        prompt_tokens=3,
        completion_tokens=4,
        ended_at=now,
        deadline_at=now,
    )
    for sequence, (model_name, failed) in enumerate(tried, 1):
        Attempt.objects.create(
            call=call,
            sequence=sequence,
            model_name=model_name,
            outcome="failed" if failed else "succeeded",
            cause=failed,
            latency_ms=6,
            cost_usd=cost,
            started_at=now,
        )
    return call


def end(job: Job, status: str = "completed") -> None:
    end_job(job_id=job.id, team_pk=None, status=status, metadata={}, error_message="", actor="test")  # type: ignore[arg-type]


def test_a_charged_job_says_from_which_hold_and_which_grant(make_job: MakeJob, superuser: AdminClient) -> None:
    job = make_job()
    add_call(job, ("gpt-4o", "rate_limited"), ("gpt-4o", "timeout"), ("gpt-4o-mini", ""))
    add_call(job, ("gpt-4o", ""), purpose="score")
    end(job)

    found = receipt(job.id)

    entry = LedgerEntry.objects.get(kind="deduction")
    assert (found.charged, found.balance_before, found.balance_after) == (1, 10, 9)
    assert found.hold is not None
    assert (found.hold.state, found.entry, [draw.amount for draw in found.draws]) == ("captured", entry, [1])
    assert (found.rescued, found.total_tokens, found.total_cost_usd) == (1, 14, Decimal("0.0000060"))
    assert [line.answered_by for line in found.lines] == ["fallback 1", "first choice"]
    assert [attempt.position for attempt in found.lines[0].attempts] == [1, 1, 2]

    html = superuser.html(PAGE, job.pk)
    for shown in (
        str(found.hold.id),
        str(entry.id),
        str(found.draws[0].grant_id),
        "0.0000060",
        "rescued",
        "fallback 1",
    ):
        assert shown in html, shown


def test_a_job_that_is_not_charged_says_why(make_job: MakeJob, superuser: AdminClient) -> None:
    still_open, failed, spoilt = make_job(), make_job(), make_job()
    add_call(spoilt, ("gpt-4o", "timeout"))
    end(failed, "failed")
    end(spoilt)

    for job, why, balance in (
        (still_open, "held, and not charged yet", None),
        (failed, "The job failed", 10),
        (spoilt, "A call failed", 10),
    ):
        found = receipt(job.id)
        assert (found.charged, found.balance_after, found.balance_before) == (0, balance, balance)
        assert why in superuser.html(PAGE, job.pk)


def test_it_takes_the_same_few_queries_however_many_calls(make_job: MakeJob, superuser: AdminClient) -> None:
    job = make_job()
    add_call(job, ("gpt-4o", ""))
    before = superuser.queries(PAGE, job.pk)
    for _ in range(20):
        add_call(job, ("gpt-4o", "timeout"), ("gpt-4o-mini", ""))
    assert superuser.queries(PAGE, job.pk) == before <= 10


def test_what_clients_write_is_shown_as_text(make_job: MakeJob, superuser: AdminClient) -> None:
    job = make_job(job_type=SCRIPT, user_id=SCRIPT[:60], metadata={"a": SCRIPT, "long": "x" * 16_000})
    add_call(job, ("<b>model</b>", ""), purpose=SCRIPT)
    Job.objects.filter(pk=job.pk).update(error_message=SCRIPT)
    pages = (
        superuser.html(PAGE, job.pk) + superuser.html("jobs_job_change", job.pk) + superuser.html("jobs_job_changelist")
    )
    call = Call.objects.get()
    pages += superuser.html("jobs_call_change", call.pk) + superuser.html("jobs_call_changelist")
    pages += superuser.html("jobs_attempt_changelist")
    assert "<script>alert" not in pages
    assert "<b>model</b>" not in pages
    assert "x" * 16_000 in pages


def test_it_is_linked_from_the_job_and_from_the_entry(make_job: MakeJob, superuser: AdminClient) -> None:
    job = make_job()
    end(job)
    path = f"/admin/jobs/job/{job.pk}/receipt/"
    entry = LedgerEntry.objects.get(kind="deduction")
    assert path in superuser.html("jobs_job_change", job.pk)
    assert path in superuser.html("billing_ledgerentry_change", entry.pk)


def test_who_may_not_see_jobs_sees_no_receipt(make_job: MakeJob) -> None:
    job = make_job()
    assert AdminClient(["billing.view_ledgerentry"]).get(PAGE, job.pk).status_code == 403
    assert AdminClient(["jobs.view_job"], name="other").get(PAGE, job.pk).status_code == 200


def test_a_job_that_is_not_there_has_none(superuser: AdminClient) -> None:
    assert superuser.get(PAGE, "0b9b6d3e-5e0c-4b57-a3a6-2d1b0c6f7a51").status_code == 404
