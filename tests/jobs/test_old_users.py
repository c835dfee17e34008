"""Jobs that name a user and have none, as those of before there were users, are given him."""

import hashlib
from decimal import Decimal

import pytest
from django.utils import timezone

from jobs.models import Call, Job
from jobs.services import old_users
from jobs.services.erasure import erase_users
from jobs.services.jobs import end_job, open_job
from jobs.services.old_users import give_jobs_their_users
from tenancy.models import TeamUser, UserLimit
from tenancy.queries.principals import TeamRef
from tenancy.services.users import change_user
from tests.support.api import Tenant, make_tenant
from tests.support.erasure import begun, finished

pytestmark = pytest.mark.django_db(transaction=True)
#: What no path can name, or could be taken for a name of ours.
ODD = ("a/b", "~x", ".", "a\u00a0b", "a\u200db", "a\u202eb", "a\u2028b")


def digest(name: str) -> str:
    return "~" + hashlib.sha256(name.encode()).hexdigest()


def old_job(team: Tenant, name: str) -> Job:
    """As the release before writes it."""
    reference = TeamRef(team.team_pk, team.team_id, team.organization_id, is_suspended=False)
    opened = open_job(team=reference, virtual_key_id=None, job_type="x", user_id="", metadata={"of": name})
    Job.objects.filter(pk=opened.job_id).update(user_id=name)
    Call.objects.create(team_id=team.team_pk, job_id=opened.job_id, model_group="G", deadline_at=timezone.now())
    return Job.objects.get(pk=opened.job_id)


@pytest.fixture
def team(transactional_db: None) -> Tenant:
    return make_tenant(groups=[], credits_allocated=100)


def test_jobs_and_calls_of_before_are_given_their_users(team: Tenant) -> None:
    teams = [team, make_tenant("b", groups=[], credits_allocated=100)]
    names = ("bob", "bob", *ODD, "")
    for each in teams:
        for name in names:
            old_job(each, name)

    assert give_jobs_their_users() == 2 * (len(names) - 1)
    assert give_jobs_their_users() == 0

    for each in teams:
        users = TeamUser.objects.filter(team_id=each.team_pk)
        assert {user.user_id for user in users} == {"bob", *(digest(name) for name in ODD)}
        bob = users.get(user_id="bob")
        jobs = Job.objects.filter(team_user=bob)
        assert {(job.team_id, job.user_id) for job in jobs} == {(each.team_pk, "bob")}
        assert (jobs.count(), Call.objects.filter(team_user=bob, job__team_id=each.team_pk).count()) == (2, 2)
        times = sorted(job.created_at for job in jobs)
        assert [bob.first_seen_at, bob.last_seen_at] == times
        assert each.api.get(f"/api/teams/{each.team_id}/users/{digest('a/b')}/usage").json()["total_calls"] == 1
    assert set(Job.objects.filter(team_user=None).values_list("user_id", flat=True)) == {""}
    assert Call.objects.filter(team_user=None).count() == 2


def test_a_big_user_is_given_his_jobs_in_batches_and_turns(team: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        old_job(team, "bob")
    monkeypatch.setattr(old_users, "BATCH", 2)
    assert give_jobs_their_users(turn_s=-1) == 2
    assert Job.objects.filter(team_user=None).count() == 3
    assert give_jobs_their_users() == 3
    bob = TeamUser.objects.get()
    assert [bob.first_seen_at, bob.last_seen_at] == [
        Job.objects.earliest("created_at").created_at,
        Job.objects.latest("created_at").created_at,
    ]


def test_they_count_for_his_limit(team: Tenant) -> None:
    """What the release before wrote after a limit was set."""
    old_job(team, "bob")
    give_jobs_their_users()
    bob = TeamUser.objects.get()
    change_user(user_pk=bob.pk, limits={"credits": Decimal(5)}, actor="test")
    old_job(team, "bob")
    old_job(team, "alice")

    give_jobs_their_users()

    assert UserLimit.objects.get().taken == 2


@pytest.mark.parametrize("name", ["bob", "a/b"])
def test_erasing_somebody_takes_what_names_him(team: Tenant, name: str) -> None:
    """Before the beat has given it to him."""
    first = old_job(team, name)
    give_jobs_their_users()
    job, other = old_job(team, name), old_job(team, "alice")
    Call.objects.update(state="succeeded", ended_at=timezone.now())
    for each in (first, job):
        end_job(job_id=each.pk, team_pk=None, status="failed", metadata={}, error_message="", actor="test")

    user = begun(team, Job.objects.get(pk=first.pk).user_id)
    assert erase_users() + finished() == 1

    job.refresh_from_db()
    assert (job.user_id, job.team_user_id, job.metadata) == (user.user_id, user.pk, {})
    assert Job.objects.get(pk=other.pk).team_user_id is None
