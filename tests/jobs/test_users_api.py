"""A team's users over HTTP."""

from typing import Any
from urllib.parse import quote

import pytest
from django.utils import timezone

from jobs.models import Attempt, Call, Job
from jobs.services.jobs import end_job, open_job
from tenancy.models import AuditEntry, TeamUser
from tenancy.queries.principals import TeamRef
from tenancy.queries.users import stored_user_id
from tests.support.api import ApiClient, Tenant, make_operator, make_tenant

pytestmark = pytest.mark.django_db
USER = {
    "user_id",
    "status",
    "first_seen_at",
    "last_seen_at",
    "limits",
    "erasure_requested_at",
    "erased_at",
}


def path(team: Tenant, user_id: str | None = None, *more: str) -> str:
    parts = [quote(part, safe="") for part in ([user_id, *more] if user_id is not None else [])]
    return "/".join([f"/api/teams/{team.team_id}/users", *parts])


def open_for(team: Tenant, user_id: str, job_type: str = "x") -> Job:
    reference = TeamRef(team.team_pk, team.team_id, team.organization_id, is_suspended=False)
    job = open_job(team=reference, virtual_key_id=None, job_type=job_type, user_id=user_id, metadata={})
    return Job.objects.get(pk=job.job_id)


def end(job: Job, status: Any = "completed") -> None:
    end_job(job_id=job.id, team_pk=None, status=status, metadata={}, error_message="", actor="test")


def call(
    team: Tenant, *, user: TeamUser | None, job: Job | None, cost_usd: str = "0.25", state: str = "succeeded"
) -> None:
    now = timezone.now()
    made = Call.objects.create(
        team_id=team.team_pk, job=job, team_user=user, model_group="G", state=state, prompt_tokens=3,
        completion_tokens=4, cost_usd=cost_usd, created_at=now, ended_at=now, deadline_at=now,
        cause="" if state == "succeeded" else "timeout",
    )  # fmt: skip
    Attempt.objects.create(
        call=made, sequence=1, model_name="m", outcome="succeeded", latency_ms=1, started_at=now, cost_usd=cost_usd,
        prompt_tokens=3, completion_tokens=4,
    )  # fmt: skip


def test_users_are_listed_newest_first_by_pages(tenant: Tenant) -> None:
    for name in ("a", "b", "c"):
        open_for(tenant, name)
    open_for(make_tenant("b", groups=[]), "foreign")

    answer = tenant.api.get(path(tenant), limit=2)

    body = answer.json()
    assert (body["team_id"], body["total_users"]) == (tenant.team_id, 3)
    assert [user["user_id"] for user in body["users"]] == ["c", "b"]
    assert set(body["users"][0]) == USER
    assert 'rel="next"' in answer.headers["Link"]
    assert [user["user_id"] for user in tenant.api.get(path(tenant), limit=2, offset=2).json()["users"]] == ["a"]
    TeamUser.objects.filter(user_id="b").update(status="blocked")
    assert [user["user_id"] for user in tenant.api.get(path(tenant), status="blocked").json()["users"]] == ["b"]
    assert tenant.api.get(path(tenant), status="gone").status_code == 400


def test_a_job_is_opened_for_a_user_and_he_can_be_asked_for(tenant: Tenant) -> None:
    body = {"team_id": tenant.team_id, "job_type": "x", "user_id": "user:1"}
    job_id = tenant.api.post("/api/jobs/create", body).json()["job_id"]

    user = tenant.api.get(path(tenant, "user:1")).json()

    assert (user["user_id"], user["status"]) == ("user:1", "active")
    assert user["limits"] == {"credits_per_month": None, "direct_cost_usd_per_month": None}
    assert Job.objects.get(pk=job_id).team_user == TeamUser.objects.get(user_id="user:1")


@pytest.mark.parametrize("name", [".", ".."])
def test_a_user_whom_no_path_could_name_is_stored_by_his_digest(tenant: Tenant, name: str) -> None:
    body = {"team_id": tenant.team_id, "job_type": "x", "user_id": name}
    assert tenant.api.post("/api/jobs/create", body).status_code == 200

    (user,) = tenant.api.get(path(tenant)).json()["users"]

    assert user["user_id"] == stored_user_id(name) != name
    assert tenant.api.get(path(tenant, user["user_id"], "usage")).json()["summary"]["total_jobs"] == 1
    assert tenant.api.delete(path(tenant, user["user_id"])).status_code == 202


def test_usage_goes_by_his_jobs_and_his_calls(tenant: Tenant) -> None:
    first, second, foreign = (open_for(tenant, name, "parse") for name in ("bob", "bob", "alice"))
    bob = TeamUser.objects.get(user_id="bob")
    call(tenant, user=bob, job=first)
    call(tenant, user=bob, job=foreign, cost_usd="0.5")
    call(tenant, user=TeamUser.objects.get(user_id="alice"), job=second, cost_usd="7")
    call(tenant, user=bob, job=None, cost_usd="0.125")
    end(first)
    end(second, "failed")

    body = tenant.api.get(path(tenant, "bob", "usage")).json()

    assert (body["team_id"], body["user_id"], body["period"]) == (tenant.team_id, "bob", f"{timezone.now():%Y-%m}")
    assert body["total_calls"] == 3
    assert body["summary"] == {
        "total_jobs": 2,
        "successful_jobs": 1,
        "failed_jobs": 1,
        "total_cost_usd": 0.75,
        "total_tokens": 14,
        "avg_cost_per_job": 0.375,
        "credits_used": 1,
    }
    assert body["job_types"] == {"parse": {"count": 2, "cost_usd": 0.75}}
    assert body["direct"] == {"calls": 1, "successful_calls": 1, "failed_calls": 0, "cost_usd": 0.125, "tokens": 7}
    assert body["allowances"] == {"credits": None, "direct_cost_usd": None}


def test_the_users_figures_add_up_to_the_teams(tenant: Tenant) -> None:
    jobs = [open_for(tenant, name) for name in ("bob", "alice", "alice")]
    users = {name: TeamUser.objects.get(user_id=name) for name in ("bob", "alice")}
    call(tenant, user=users["alice"], job=jobs[0])
    call(tenant, user=users["bob"], job=jobs[1], cost_usd="0.5")
    call(tenant, user=users["bob"], job=None, cost_usd="1.5")
    for job in jobs:
        end(job)

    team = tenant.api.get(f"/api/teams/{tenant.team_id}/usage").json()
    each = [tenant.api.get(path(tenant, name, "usage")).json() for name in users]

    for name in ("total_jobs", "successful_jobs", "failed_jobs", "total_cost_usd", "total_tokens", "credits_used"):
        assert sum(one["summary"][name] for one in each) == team["summary"][name], name
    for name, total in team["direct"].items():
        assert sum(one["direct"][name] for one in each) == total, name


def test_another_period_has_nothing(tenant: Tenant) -> None:
    open_for(tenant, "bob")
    body = tenant.api.get(path(tenant, "bob", "usage"), period="2020-01").json()
    assert (body["summary"]["total_jobs"], body["total_calls"]) == (0, 0)
    assert tenant.api.get(path(tenant, "bob", "usage"), period="soon").status_code == 400


def test_limits_are_set_shown_and_taken_off(tenant: Tenant) -> None:
    open_for(tenant, "bob")
    limits = {"credits_per_month": 1, "direct_cost_usd_per_month": 2.5}

    changed = tenant.api.patch(path(tenant, "bob"), {"limits": limits, "reason": "trial"})

    assert (changed.status_code, changed.json()["limits"]) == (200, limits)
    entry = AuditEntry.objects.get(action="user.changed")
    assert (entry.subject, entry.reason) == (f"user {TeamUser.objects.get().pk}", "trial")
    assert entry.after == {"credits": 1, "direct_cost": "2.5"}
    assert entry.actor.startswith("team:")
    assert "bob" not in str(entry.__dict__)
    partly = tenant.api.patch(path(tenant, "bob"), {"limits": {"credits_per_month": None}})
    assert partly.json()["limits"] == {"credits_per_month": None, "direct_cost_usd_per_month": 2.5}
    allowances = tenant.api.get(path(tenant, "bob", "usage")).json()["allowances"]
    assert allowances == {"credits": None, "direct_cost_usd": {"limit": 2.5, "used": 0, "reserved": 0}}


def test_a_change_that_changes_nothing_is_not_written_down(tenant: Tenant) -> None:
    open_for(tenant, "bob")
    for body in ({}, {"status": "active"}, {"limits": {"credits_per_month": None}}):
        assert tenant.api.patch(path(tenant, "bob"), body).status_code == 200
    assert not AuditEntry.objects.filter(action="user.changed").exists()


def test_who_is_at_his_limit_or_blocked_gets_no_job(tenant: Tenant) -> None:
    open_for(tenant, "bob")
    body = {"team_id": tenant.team_id, "job_type": "x", "user_id": "bob"}
    tenant.api.patch(path(tenant, "bob"), {"limits": {"credits_per_month": 1}})

    refused = tenant.api.post("/api/jobs/create", body)
    assert (refused.status_code, refused.json()["code"]) == (402, "user_limit_reached")
    assert refused.json()["detail"] == "This user's limit of credits per month is reached"

    tenant.api.patch(path(tenant, "bob"), {"status": "blocked"})
    refused = tenant.api.post("/api/jobs/create", body)
    assert (refused.status_code, refused.json()["code"]) == (403, "user_blocked")
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    "body",
    [
        {"status": "erased"},
        {"status": None},
        {"limits": 7},
        {"limits": {"credits_per_month": -1}},
        {"limits": {"credits_per_month": "5"}},
        {"limits": {"credits_per_month": 10**30}},
        {"limits": {"credits_per_month": True}},
        {"limits": {"direct_cost_usd_per_month": "5"}},
        {"limits": {"direct_cost_usd_per_month": -0.5}},
        {"limits": {"direct_cost_usd_per_month": 1e300}},
        {"limits": {"direct_cost_usd_per_month": 10**400}},
        {"limits": {"direct_cost_usd_per_month": 0.0000001}},
        {"limits": {"direct_cost_usd_per_month": False}},
        {"reason": "x" * 1025},
        b'{"limits": {"direct_cost_usd_per_month": NaN}}',
        b'{"reason": "\\u0000"}',
        b"[]",
    ],
)
def test_what_makes_no_sense_is_refused(tenant: Tenant, body: Any) -> None:
    open_for(tenant, "bob")
    answer = tenant.api.patch(path(tenant, "bob"), body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("name", ["Jürgen Müller", "bob@example.com", "50%", "a?b#c", "~" + "0" * 64, "' OR 1=1 --"])
def test_every_name_can_be_addressed(tenant: Tenant, name: str) -> None:
    open_for(tenant, name)
    assert tenant.api.get(path(tenant, name)).json()["user_id"] == name
    assert tenant.api.get(path(tenant, name, "usage")).json()["summary"]["total_jobs"] == 1


@pytest.mark.parametrize("name", ["\x00", "a\nb", "x" * 129, "x" * 5000, "\ufffe"])
def test_what_is_nobodys_name_is_refused(tenant: Tenant, name: str) -> None:
    for answer in (tenant.api.get(path(tenant, name)), tenant.api.delete(path(tenant, name))):
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


def test_an_unknown_user_is_not_found(tenant: Tenant) -> None:
    for answer in (
        tenant.api.get(path(tenant, "nobody")),
        tenant.api.get(path(tenant, "nobody", "usage")),
        tenant.api.patch(path(tenant, "nobody"), {}),
        tenant.api.delete(path(tenant, "nobody")),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def everything(client: ApiClient, team: Tenant) -> list[Any]:
    return [
        client.get(path(team)),
        client.get(path(team, "bob")),
        client.get(path(team, "bob", "usage")),
        client.patch(path(team, "bob"), {"status": "blocked"}),
        client.delete(path(team, "bob")),
    ]


def test_only_the_team_and_operators_with_the_scope_may(tenant: Tenant) -> None:
    open_for(tenant, "bob")
    other = make_tenant("b", groups=[])
    assert {answer.status_code for answer in everything(ApiClient(None), tenant)} == {401}
    assert {answer.json()["code"] for answer in everything(other.api, tenant)} == {"wrong_team"}
    reading = everything(make_operator("reader", ["read"]), tenant)
    assert [answer.status_code for answer in reading] == [200, 200, 200, 403, 403]
    assert {answer.json()["code"] for answer in reading[3:]} == {"insufficient_scope"}
    writing = everything(make_operator("writer", ["provision"]), tenant)
    assert [answer.status_code for answer in writing] == [403, 403, 403, 200, 202]
    unknown = everything(make_operator(), Tenant("o", "nobody", 0, "", ""))
    assert {answer.status_code for answer in unknown} == {404}
    assert TeamUser.objects.get().status == "erasing"
