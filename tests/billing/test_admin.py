"""The admin of teams, balances and the ledger."""

import pytest

from billing.models import CreditAccount, CreditHold, LedgerEntry
from jobs.services.jobs import open_job
from tenancy.models import Team
from tenancy.queries.principals import TeamRef
from tenancy.services.keys import create_virtual_key
from tests.support.admin import AdminClient, form_of, row
from tests.support.api import Tenant

PAGE = "tenancy_team_change"


@pytest.fixture
def superuser(db: None) -> AdminClient:
    return AdminClient()


def held_job(tenant: Tenant) -> object:
    team = TeamRef(tenant.team_pk, tenant.team_id, tenant.organization_id, False, None)
    return open_job(team=team, virtual_key_id=None, job_type="parse", user_id="", metadata={}).job_id


def test_a_teams_page_has_keys_credits_groups_and_links(tenant: Tenant, superuser: AdminClient) -> None:
    held_job(tenant)
    html = superuser.html(PAGE, tenant.team_pk)
    assert f"…{tenant.key[-4:]}" in html
    assert tenant.group_name in html
    account = CreditAccount.objects.get()
    assert (account.remaining, account.held, account.available) == (10, 1, 9)
    for url in (
        f"/admin/jobs/job/?team__id__exact={tenant.team_pk}",
        f"/admin/billing/ledgerentry/?account__exact={tenant.team_pk}",
        f"/admin/billing/ledgerentry/?team={tenant.team_id}",
        f"/admin/billing/credithold/?account__exact={tenant.team_pk}",
        f"/admin/tenancy/virtualkey/?team__id__exact={tenant.team_pk}",
    ):
        assert url in html
        page = url.removeprefix("/admin/").partition("/?")[0].replace("/", "_") + "_changelist"
        name, _, value = url.partition("?")[2].partition("=")
        assert superuser.get(page, **{name: value}).context["cl"].result_count == 1


@pytest.mark.parametrize("column", range(1, 11))
def test_teams_can_be_sorted_by_any_column(tenant: Tenant, superuser: AdminClient, column: int) -> None:
    superuser.html("tenancy_team_changelist", o=column)


def test_what_can_be_changed_of_a_team(tenant: Tenant, superuser: AdminClient) -> None:
    changes = {"team_alias": "New", "job_ttl_s": "60", "metadata": '{"a": 1}'}
    forged = {"team_id": "other", "organization": "999", "status": "suspended", "credit_account-0-allocated": "999"}
    data = form_of(superuser, PAGE, tenant.team_pk)

    assert superuser.post(PAGE, tenant.team_pk, **{**data, **changes, **forged}).status_code == 302

    team = Team.objects.select_related("organization").get()
    assert (team.team_alias, team.status, team.job_ttl_s, team.metadata) == ("New", "active", 60, {"a": 1})
    assert (team.team_id, team.organization.organization_id) == (tenant.team_id, tenant.organization_id)
    assert CreditAccount.objects.get().allocated == 10


@pytest.mark.parametrize("ttl", ["0", "-1", "2147483648", "x"])
def test_a_time_to_live_must_be_positive(tenant: Tenant, superuser: AdminClient, ttl: str) -> None:
    data = form_of(superuser, PAGE, tenant.team_pk)
    response = superuser.post(PAGE, tenant.team_pk, **{**data, "job_ttl_s": ttl})
    assert response.context["adminform"].form.errors["job_ttl_s"]
    assert Team.objects.get().job_ttl_s is None


def test_a_team_with_very_many_keys_can_be_saved(tenant: Tenant, superuser: AdminClient) -> None:
    team = Team.objects.get()
    for _ in range(105):
        create_virtual_key(team=team)
    data = form_of(superuser, PAGE, team.pk)
    assert superuser.post(PAGE, team.pk, **{**data, "team_alias": "New"}).status_code == 302
    assert Team.objects.get().team_alias == "New"


@pytest.mark.parametrize("model", [LedgerEntry, CreditHold, CreditAccount])
def test_the_ledger_offers_neither_adding_nor_deleting(
    tenant: Tenant, superuser: AdminClient, model: type[LedgerEntry | CreditHold | CreditAccount]
) -> None:
    held_job(tenant)
    instance = model.objects.get()
    before = row(instance)
    name = f"billing_{model._meta.model_name}"
    html = superuser.html(f"{name}_changelist") + superuser.html(f"{name}_change", instance.pk)
    for offer in (
        f"/{model._meta.model_name}/add/",
        "/delete/",
        "deletelink",
        'name="_save"',
        'name="action"',
        "delete_selected",
    ):
        assert offer not in html
    assert row(instance) == before
