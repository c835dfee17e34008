"""Organizations, teams and keys in the console: each action asks first, acts once, and says who did it."""

import re
from typing import Any

import pytest
from django.contrib.sessions.models import Session

from billing.models import CreditAccount, LedgerEntry
from jobs.models import Job
from modelgroups.models import GroupAssignment
from tenancy.models import AuditEntry, Organization, Team, VirtualKey
from tenancy.services.keys import create_virtual_key
from tests.support.admin import AdminClient, form_of, problems, sent
from tests.support.api import ApiClient, Tenant, make_group, make_tenant

ORGANIZATION, TEAM = "tenancy_organization_change", "tenancy_team_change"
NASTY = "<script>alert(1)</script>"


@pytest.fixture
def ann(db: None) -> AdminClient:
    return AdminClient(name="ann")


def key_on(response: Any) -> str:
    assert response.status_code == 200
    (key,) = re.findall(r'value="(sk-[\w-]+)"', response.content.decode())
    return str(key)


def last_entry() -> AuditEntry:
    return AuditEntry.objects.latest("id")


def counts() -> tuple[int, ...]:
    models = (Organization, Team, VirtualKey, LedgerEntry, GroupAssignment, AuditEntry)
    return tuple(model._default_manager.count() for model in models)


def test_an_organization_is_created(ann: AdminClient) -> None:
    page = "tenancy_organization_create_organization"
    response = sent(ann, page, organization_id="acme", name=NASTY, metadata='{"a": "=1+1"}')
    organization = Organization.objects.get()
    assert response.headers["Location"] == f"/admin/tenancy/organization/{organization.pk}/change/"
    assert (organization.organization_id, organization.name, organization.metadata) == ("acme", NASTY, {"a": "=1+1"})
    assert (last_entry().action, last_entry().actor) == ("organization.created", "console:ann")
    assert "already exists" in problems(sent(ann, page, organization_id="acme", name="x"))


def test_a_team_is_opened_in_one_form_and_its_key_shown_once(ann: AdminClient) -> None:
    make_tenant("a")
    group = make_group("Second")
    page = "tenancy_team_create_team"
    wanted = {"organization_id": "org_a", "team_id": "new", "team_alias": "New", "credits_allocated": "7"}

    response = sent(ann, page, **wanted, model_groups=[group], metadata='{"a": 1}')

    key = key_on(response)
    team = Team.objects.get(team_id="new")
    api = ApiClient(key)
    assert api.get("/api/teams/new").json()["model_groups"] == [group]
    assert (team.organization.organization_id, team.team_alias, team.metadata) == ("org_a", "New", {"a": 1})
    assert CreditAccount.objects.get(pk=team.pk).allocated == 7
    created = AuditEntry.objects.filter(team=team)
    assert {"team.created", "credits.added", "key.created"} <= set(created.values_list("action", flat=True))
    assert set(created.values_list("actor", flat=True)) == {"console:ann"}
    assert "no-store" in response.headers["Cache-Control"]
    pages = ann.html(TEAM, team.pk) + ann.html("tenancy_team_changelist") + ann.html("tenancy_auditentry_changelist")
    assert key not in pages
    for session in Session.objects.all():
        assert key not in str(session.get_decoded())
    assert "<script>" not in re.findall(r'<input id="virtual-key".*?</button>', response.content.decode(), re.DOTALL)[0]


def test_what_the_api_refuses_of_a_team_is_refused_here(tenant: Tenant, ann: AdminClient) -> None:
    page, before = "tenancy_team_create_team", counts()
    wanted = {"organization_id": "org_a", "team_id": "new", "credits_allocated": "0"}
    for wrong, complaint in (
        ({"organization_id": "nobody"}, "not found"),
        ({"team_id": tenant.team_id}, "already exists"),
        ({"team_id": "a b"}, "must be 1 to 128"),
        ({"credits_allocated": "-1"}, "greater than or equal to 0"),
        ({"credits_allocated": "9" * 30}, "less than or equal to"),
        ({"model_groups": ["Nothing"]}, "not one of the available choices"),
        ({"metadata": "[]"}, "JSON object"),
        ({"metadata": '{"a": "%s"}' % ("x" * 17_000)}, "16384"),
        ({"team_alias": "a\0b"}, "Null characters"),
    ):
        assert complaint in problems(sent(ann, page, **{**wanted, **wrong})), wrong
    assert counts() == before


@pytest.mark.parametrize("page", ["tenancy_team_create_team", "tenancy_team_create_key"])
def test_a_form_that_is_sent_twice_acts_once(tenant: Tenant, ann: AdminClient, page: str) -> None:
    arguments = [tenant.team_pk] if page.endswith("key") else []
    token = ann.get(page, *arguments).context["form"]["token"].value()
    wanted = {"organization_id": "org_a", "team_id": "new", "credits_allocated": "3", "name": "x", "token": token}
    key = key_on(ann.post(page, *arguments, **wanted))
    before = counts()
    again = ann.post(page, *arguments, **wanted)
    assert again.status_code == 302
    assert counts() == before
    assert key not in again.content.decode()
    other = ann.post(page, *arguments, **{**wanted, "team_id": "other", "name": "other"})
    assert "sent before" in problems(other)
    assert counts() == before


def test_a_team_and_an_organization_are_suspended_and_resumed(tenant: Tenant, ann: AdminClient) -> None:
    organization = Organization.objects.get()
    for page, pk, word in (
        ("tenancy_team_change_status", tenant.team_pk, "team"),
        ("tenancy_organization_change_status", organization.pk, "organization"),
    ):
        assert sent(ann, page, pk, reason="They do not pay").status_code == 302
        assert tenant.api.get(f"/api/teams/{tenant.team_id}").status_code == 403
        entry = last_entry()
        assert (entry.action, entry.actor, entry.reason) == (f"{word}.suspended", "console:ann", "They do not pay")
        assert (entry.before, entry.after) == ({"status": "active"}, {"status": "suspended"})
        assert entry.organization == organization
        assert "do not work" in ann.html(f"tenancy_{word}_change", pk)
        assert sent(ann, page, pk).status_code == 302
        assert tenant.api.get(f"/api/teams/{tenant.team_id}").status_code == 200
        assert last_entry().action == f"{word}.resumed"


def test_suspending_twice_is_one_entry(tenant: Tenant, ann: AdminClient) -> None:
    form = ann.get("tenancy_team_change_status", tenant.team_pk).context["form"]
    for _ in range(2):
        ann.post("tenancy_team_change_status", tenant.team_pk, token=form["token"].value(), status="suspended")
    assert Team.objects.get().status == "suspended"
    assert AuditEntry.objects.filter(action="team.suspended").count() == 1


def test_a_key_is_made_rotated_and_revoked(tenant: Tenant, ann: AdminClient) -> None:
    made = key_on(sent(ann, "tenancy_team_create_key", tenant.team_pk, name="for the nightly run"))
    row = VirtualKey.objects.get(name="for the nightly run")
    new = key_on(sent(ann, "tenancy_virtualkey_rotate", row.pk, grace_s="0", reason="It leaked"))
    path = f"/api/teams/{tenant.team_id}"
    assert [ApiClient(key).get(path).status_code for key in (tenant.key, made, new)] == [200, 401, 200]
    assert (last_entry().action, last_entry().reason) == ("key.rotated", "It leaked")
    assert "already revoked" in problems(sent(ann, "tenancy_virtualkey_rotate", row.pk))
    assert sent(ann, "tenancy_virtualkey_revoke_one", VirtualKey.objects.get(replaces=row).pk).status_code == 302
    assert [ApiClient(key).get(path).status_code for key in (tenant.key, made, new)] == [200, 401, 401]
    assert {entry.actor for entry in AuditEntry.objects.filter(action__in=["key.rotated", "key.revoked"])} == {
        "console:ann"
    }


def test_groups_are_assigned_and_taken_away(tenant: Tenant, ann: AdminClient) -> None:
    page, second = "tenancy_team_assign_groups", make_group("Another")

    def groups() -> list[str]:
        return list(GroupAssignment.objects.values_list("group__group_name", flat=True))

    sent(ann, page, tenant.team_pk, model_groups=[second, tenant.group_name])
    # As they are listed, whatever order a browser sends them in: the team's own come first.
    assert sorted(groups()) == sorted([tenant.group_name, second])
    assert (last_entry().action, last_entry().actor) == ("group.assigned", "console:ann")
    form = ann.get(page, tenant.team_pk).context["form"]
    assert form["model_groups"].value() == groups()
    sent(ann, page, tenant.team_pk, model_groups=[])
    assert groups() == []


@pytest.mark.parametrize(
    ("page", "permission"),
    [
        ("tenancy_organization_create_organization", "tenancy.add_organization"),
        ("tenancy_organization_create_team", "tenancy.add_team"),
        ("tenancy_organization_change_status", "tenancy.suspend_team"),
        ("tenancy_team_create_team", "tenancy.add_team"),
        ("tenancy_team_change_status", "tenancy.suspend_team"),
        ("tenancy_team_create_key", "tenancy.change_virtualkey"),
        ("tenancy_team_assign_groups", "modelgroups.assign_modelgroup"),
        ("tenancy_virtualkey_rotate", "tenancy.change_virtualkey"),
        ("tenancy_virtualkey_revoke_one", "tenancy.change_virtualkey"),
    ],
)
def test_an_action_needs_its_permission_and_a_post(tenant: Tenant, page: str, permission: str) -> None:
    objects = {"organization": Organization, "team": Team, "virtualkey": VirtualKey}
    model = objects[page.split("_")[1]]
    arguments = [] if page.endswith(("create_organization", "team_create_team")) else [model._default_manager.get().pk]
    views = [f"tenancy.view_{name}" for name in objects]
    viewer, doer = AdminClient(views, name="viewer"), AdminClient([*views, permission], name="doer")
    form = doer.get(page, *arguments)
    token = form.context["form"]["token"].value() if form.status_code == 200 else ""
    before, rows = counts(), list(VirtualKey.objects.values()) + list(Team.objects.values())
    data = {"organization_id": "org_a", "team_id": "x", "name": "x", "credits_allocated": 0, "status": "suspended"}
    assert viewer.get(page, *arguments).status_code == 403
    assert viewer.post(page, *arguments, **data, grace_s="0", token=token).status_code == 403
    assert doer.get(page, *arguments, **data, grace_s="0", token=token).status_code in (200, 302)
    assert counts() == before
    assert list(VirtualKey.objects.values()) + list(Team.objects.values()) == rows


@pytest.mark.parametrize("page", ["tenancy_team_change_status", "tenancy_team_create_key", "tenancy_virtualkey_rotate"])
@pytest.mark.parametrize("pk", ["999999", "x", "9" * 40])
def test_what_is_not_there_is_not_found(ann: AdminClient, page: str, pk: str) -> None:
    assert ann.get(page, pk).status_code == 404


def test_the_pages_show_teams_credits_and_what_happened(tenant: Tenant, ann: AdminClient) -> None:
    organization = Organization.objects.get()
    html = ann.html(ORGANIZATION, organization.pk)
    for text in (tenant.team_id, "Allocated", "team.created", f"/admin/organizations/{organization.pk}/statement/"):
        assert text in html
    html = ann.html(TEAM, tenant.team_pk)
    for text in ("Available", "Budget (USD)", "1.00", tenant.group_name, "Initial allocation", "key.created"):
        assert text in html


def test_who_may_see_teams_only_sees_no_credits_keys_or_history(tenant: Tenant) -> None:
    html = AdminClient(["tenancy.view_team"]).html(TEAM, tenant.team_pk)
    for text in ("Available", "Initial allocation", tenant.key[-4:], tenant.group_name, "team.created", "/statement/"):
        assert text not in html


def test_texts_are_shown_as_texts(tenant: Tenant, ann: AdminClient) -> None:
    team = Team.objects.get()
    create_virtual_key(team=team, name=NASTY)
    Team.objects.update(team_alias=NASTY, metadata={"x": NASTY + "y" * 16_000})
    Organization.objects.update(name=NASTY, metadata={"x": NASTY})
    job = {"team_id": tenant.team_id, "job_type": "x"}
    assert tenant.api.post("/api/jobs/create", job).status_code == 200
    Job.objects.update(job_type=NASTY, user_id=NASTY)
    organization = Organization.objects.get()
    pages = [
        ann.html(TEAM, team.pk),
        ann.html(ORGANIZATION, organization.pk),
        ann.html("console_team_usage", team.pk),
        ann.html("console_organization_usage", organization.pk),
    ]
    for html in pages:
        assert NASTY not in html
    assert "&lt;script&gt;" in pages[0]


def test_usage_and_statements_are_for_those_who_may_see_them(tenant: Tenant, ann: AdminClient) -> None:
    organization = Organization.objects.get()
    nobody = AdminClient(["tenancy.view_team"], name="nobody")
    for page, pk in (
        ("console_team_usage", tenant.team_pk),
        ("console_organization_usage", organization.pk),
        ("console_team_statement", tenant.team_pk),
        ("console_organization_statement", organization.pk),
    ):
        assert nobody.get(page, pk).status_code == 403
        assert ann.get(page, pk, period="2026-11").status_code == 200
        assert ann.get(page, pk, period="nonsense").status_code == 400
        assert ann.get(page, 10**30).status_code == 404
        assert ann.post(page, pk).status_code == 405
    assert "Spent in all (USD)" in ann.html("console_team_usage", tenant.team_pk)
    csv = ann.get("console_team_statement", tenant.team_pk, form="csv")
    assert csv.headers["Content-Type"].startswith("text/csv")
    assert f"{tenant.team_id},grant," in csv.content.decode()


def test_editing_plain_fields_still_works(tenant: Tenant, ann: AdminClient) -> None:
    data = form_of(ann, TEAM, tenant.team_pk)
    assert "status" not in data
    assert ann.post(TEAM, tenant.team_pk, **{**data, "team_alias": "New"}).status_code == 302
    assert (last_entry().action, last_entry().after) == ("team.changed", {"team_alias": "New"})
