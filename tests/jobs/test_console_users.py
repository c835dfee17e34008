"""Users in the console: found by name, limited and erased by forms that ask first and act once."""

from decimal import Decimal
from typing import Any

import pytest

from jobs.services.jobs import open_job
from tenancy.models import AuditEntry, TeamUser, UserLimit
from tenancy.queries.principals import TeamRef
from tests.support.admin import AdminClient, problems, sent
from tests.support.api import Tenant, make_tenant

pytestmark = pytest.mark.django_db
PAGE, LIST = "tenancy_teamuser_change", "tenancy_teamuser_changelist"
LIMITS, ERASE = "tenancy_teamuser_change_limits", "tenancy_teamuser_erase"
NASTY = "<script>alert(1)<script>"


def seen(team: Tenant, user_id: str = "bob") -> TeamUser:
    reference = TeamRef(team.team_pk, team.team_id, team.organization_id, is_suspended=False)
    open_job(team=reference, virtual_key_id=None, job_type="x", user_id=user_id, metadata={})
    return TeamUser.objects.get(team_id=team.team_pk, user_id=user_id)


@pytest.fixture
def ann(db: None) -> AdminClient:
    return AdminClient(name="ann")


def found(client: AdminClient, **query: Any) -> set[str]:
    return {user.user_id for user in client.get(LIST, **query).context["cl"].queryset}


def test_the_teams_page_has_its_users_and_a_link_to_all(tenant: Tenant, ann: AdminClient) -> None:
    user = seen(tenant, NASTY)
    html = ann.html("tenancy_team_change", tenant.team_pk)
    assert f'href="/admin/tenancy/teamuser/{user.pk}/change/"' in html
    assert f"/admin/tenancy/teamuser/?team__id__exact={tenant.team_pk}" in html
    assert NASTY not in html
    blind = AdminClient(["tenancy.view_team"], name="blind").html("tenancy_team_change", tenant.team_pk)
    assert "/admin/tenancy/teamuser/" not in blind


def test_users_are_found_by_name_by_team_and_by_status(tenant: Tenant, ann: AdminClient) -> None:
    other = make_tenant("b", groups=[])
    for team, name in ((tenant, "bob"), (tenant, "alice"), (other, "bob"), (other, "carol")):
        seen(team, name)
    TeamUser.objects.filter(user_id="alice").update(status="blocked")

    assert len(ann.get(LIST, q="bob").context["cl"].queryset) == 2
    assert found(ann, q="team_a") == {"alice", "bob"}
    assert found(ann, team__id__exact=other.team_pk) == {"bob", "carol"}
    assert found(ann, status__exact="blocked") == {"alice"}
    assert found(ann, q="bo") == set()


def test_his_page_says_what_he_used(tenant: Tenant, ann: AdminClient) -> None:
    user = seen(tenant)
    seen(tenant)
    html = ann.html(PAGE, user.pk)
    assert "2 jobs (0 completed, 0 failed)" in html
    assert f"/admin/jobs/job/?team_user__id__exact={user.pk}" in html
    assert len(ann.get("jobs_job_changelist", team_user__id__exact=user.pk).context["cl"].queryset) == 2
    assert ann.get("jobs_call_changelist", team_user__id__exact=user.pk).status_code == 200


def test_he_is_limited_and_blocked(tenant: Tenant, ann: AdminClient) -> None:
    user = seen(tenant)
    sent(ann, LIMITS, user.pk, status="blocked", credits="5", direct_cost="0.5", reason="abuse")

    user.refresh_from_db()
    limits = dict(UserLimit.objects.values_list("kind", "amount"))
    assert (user.status, limits) == ("blocked", {"credits": 5, "direct_cost": Decimal("0.5")})
    entry = AuditEntry.objects.latest("id")
    assert (entry.action, entry.actor, entry.reason) == ("user.changed", "console:ann", "abuse")
    form = ann.get(LIMITS, user.pk).context["form"]
    shown = {name: form[name].value() for name in ("status", "credits", "direct_cost")}
    assert shown == {"status": "blocked", "credits": "5", "direct_cost": "0.5"}

    sent(ann, LIMITS, user.pk, status="active", credits=None, direct_cost=None)
    assert UserLimit.objects.count() == 0


@pytest.mark.parametrize("wrong", [{"credits": "-1"}, {"credits": "x"}, {"direct_cost": "NaN"}, {"status": "erased"}])
def test_what_makes_no_sense_is_refused(tenant: Tenant, ann: AdminClient, wrong: dict[str, str]) -> None:
    user = seen(tenant)
    assert problems(sent(ann, LIMITS, user.pk, **wrong))
    assert UserLimit.objects.count() == 0


def test_erasing_asks_first_wants_a_reason_and_acts_once(tenant: Tenant, ann: AdminClient) -> None:
    user = seen(tenant)
    assert ann.get(ERASE, user.pk).status_code == 200
    for incomplete in ({"reason": "his request"}, {"is_meant": "on"}):
        assert problems(sent(ann, ERASE, user.pk, **incomplete))
    assert TeamUser.objects.get().status == "active"

    sent(ann, ERASE, user.pk, reason="his request", is_meant="on")

    user.refresh_from_db()
    assert (user.status, user.user_id.startswith("~erased-")) == ("erasing", True)
    entry = AuditEntry.objects.latest("id")
    assert (entry.action, entry.subject, entry.reason) == ("user.erasure_began", user.user_id, "his request")
    for page in (ERASE, LIMITS):
        assert ann.get(page, user.pk).status_code == 404
    assert "bob" not in ann.html(PAGE, user.pk)


def test_nobody_acts_without_the_permission(tenant: Tenant) -> None:
    user = seen(tenant)
    view = ["tenancy.view_teamuser"]
    viewer = AdminClient(view, name="viewer")
    support = AdminClient([*view, "tenancy.change_teamuser"], name="support")
    for client, page in ((viewer, LIMITS), (viewer, ERASE), (support, ERASE)):
        assert client.get(page, user.pk).status_code == 403
        wanted = {"status": "blocked", "reason": "x", "is_meant": "on", "token": "0b9b6d3e-5e0c-4b57-a3a6-2d1b0c6f7a51"}
        assert client.post(page, user.pk, **wanted).status_code == 403
    assert TeamUser.objects.get().status == "active"
    sent(support, LIMITS, user.pk, status="blocked")
    assert TeamUser.objects.get().status == "blocked"
