"""The lists of jobs, calls and attempts: filters, and what they may read."""

from typing import Any

import pytest
from django.utils import timezone

from jobs.models import Attempt, Call, Job
from jobs.services.jobs import open_job
from tenancy.models import Team, VirtualKey
from tenancy.queries.principals import TeamRef
from tests.support.admin import AdminClient
from tests.support.api import Tenant, make_tenant

LIST = "jobs_job_changelist"


@pytest.fixture
def superuser(db: None) -> AdminClient:
    return AdminClient()


def open_for(tenant: Tenant, job_type: str = "resume") -> Job:
    team = TeamRef(tenant.team_pk, tenant.team_id, tenant.organization_id, False, None)
    return Job.objects.get(
        id=open_job(team=team, virtual_key_id=None, job_type=job_type, user_id="", metadata={}).job_id
    )


@pytest.fixture
def two_teams(tenant: Tenant) -> list[Job]:
    """A job each; the first one's has a call that timed out."""
    jobs = [open_for(tenant), open_for(make_tenant("b"), "score")]
    now = timezone.now()
    call = Call.objects.create(
        job=jobs[0], team=jobs[0].team, model_group="G", state="failed", cause="timeout", ended_at=now, deadline_at=now
    )
    Attempt.objects.create(
        call=call, sequence=1, model_name="m", outcome="failed", cause="timeout", latency_ms=1, started_at=now
    )
    return jobs


def found(client: AdminClient, page: str = LIST, **query: Any) -> list[Any]:
    return list(client.get(page, **query).context["cl"].queryset)


def test_jobs_are_filtered(two_teams: list[Job], superuser: AdminClient) -> None:
    first, second = two_teams
    teams = [job.team for job in two_teams]
    assert found(superuser, team__id__exact=teams[0].pk) == [first]
    assert found(superuser, team__organization__id__exact=teams[1].organization_id) == [second]
    assert found(superuser, job_type="score") == [second]
    assert found(superuser, job_type="scor") == []
    assert found(superuser, cause="timeout") == [first]
    assert found(superuser, cause="rate_limited") == []
    assert found(superuser, status__exact="completed") == []
    assert set(found(superuser, status__exact="pending", created_at_from="2020-01-01")) == {first, second}
    assert found(superuser, created_at_to="2020-01-01") == []


def test_calls_and_attempts_are_filtered(two_teams: list[Job], superuser: AdminClient) -> None:
    call = Call.objects.get()
    assert found(superuser, "jobs_call_changelist", team__id__exact=two_teams[0].team_id, cause="timeout") == [call]
    assert found(superuser, "jobs_call_changelist", team__id__exact=two_teams[1].team_id) == []
    assert found(superuser, "jobs_attempt_changelist", outcome__exact="failed") == [Attempt.objects.get()]


def test_teams_are_looked_up_and_not_listed(two_teams: list[Job], superuser: AdminClient) -> None:
    for number in range(30):
        Team.objects.create(organization=two_teams[0].team.organization, team_id=f"one_of_many_{number}")
    assert "one_of_many" not in superuser.html(LIST)


@pytest.mark.parametrize(
    "query",
    [
        {"team__id__exact": "x"}, {"team__id__exact": "9" * 30}, {"team__organization__id__exact": "\x00"},
        {"job_type": "\x00"},
        {"job_type": "x" * 5000}, {"cause": "nothing"}, {"status__exact": "gone"}, {"created_at_from": "yesterday"},
        {"created_at_from": "0000-99-99", "created_at_to": "99:99"}, {"p": "9999"}, {"p": "x"}, {"o": "99.-3"},
        {"created_at_to": "9999-12-31"}, {"q": "\x00"}, {"cause": "\x00"},
        {"created_at__year": "9999"}, {"created_at__year": "9" * 20}, {"ended_at__year": "99999"},
    ],
)  # fmt: skip
def test_nonsense_in_the_address_is_no_error(
    two_teams: list[Job], superuser: AdminClient, query: dict[str, str]
) -> None:
    for page in (LIST, "jobs_call_changelist", "jobs_attempt_changelist"):
        assert superuser.get(page, **query).status_code in (200, 302, 400)


@pytest.mark.django_db(transaction=True)
def test_what_only_postgresql_refuses_is_no_error_either() -> None:
    answer = AdminClient().get(LIST, job_type__regex="(")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/jobs/job/")


def test_a_selection_that_is_none_does_nothing(two_teams: list[Job], superuser: AdminClient) -> None:
    answer = superuser.post("tenancy_virtualkey_changelist", action="revoke", _selected_action="x")
    assert answer.status_code == 302
    assert not VirtualKey.objects.exclude(revoked_at=None).exists()


def test_nobody_counts_a_million_rows(
    two_teams: list[Job], superuser: AdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenancy.admin.long_lists.MOST_COUNTED", 1)
    assert superuser.get(LIST).context["cl"].result_count == 1


def test_an_attempts_page_says_how_far_the_call_had_fallen_back(two_teams: list[Job], superuser: AdminClient) -> None:
    first = Attempt.objects.get()
    second = Attempt.objects.create(
        call=first.call, sequence=2, model_name="n", outcome="succeeded", latency_ms=1, started_at=first.started_at
    )
    assert "first choice" in superuser.html("jobs_attempt_change", first.pk)
    assert "fallback 1" in superuser.html("jobs_attempt_change", second.pk)
    assert "fallback 1" in superuser.html("jobs_call_change", first.call_id)
