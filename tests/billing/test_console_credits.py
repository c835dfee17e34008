"""Credits in the console: topped up and corrected by entries, once each; the ledger filtered and exported."""

import asyncio
import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.test import AsyncClient

from billing import ledger
from billing.models import CreditAccount, CreditGrant, LedgerEntry, RefillPolicy
from tenancy.models import AuditEntry
from tests.support.admin import AdminClient, problems, sent
from tests.support.api import Tenant, make_tenant
from tests.support.ledger import charge, correct, give, hold

TOP_UP, CORRECT, POLICY = "tenancy_team_top_up", "tenancy_team_correct", "tenancy_team_refill_policy"
LEDGER, EXPORT = "billing_ledgerentry_changelist", "billing_ledgerentry_export"


@pytest.fixture
def ann(db: None) -> AdminClient:
    return AdminClient(name="ann")


def rows_of(response: Any) -> list[dict[str, str]]:
    assert response.status_code == 200
    return list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))


def test_a_top_up_is_an_entry_a_grant_and_an_audit_row(tenant: Tenant, ann: AdminClient) -> None:
    response = sent(
        ann, TOP_UP, tenant.team_pk, amount="5", kind="promotion", expires_on="2030-01-31", reason="Sorry for Monday"
    )
    assert response.status_code == 302
    entry = LedgerEntry.objects.latest("sequence")
    assert (entry.amount, entry.balance_after, entry.reason, entry.actor) == (5, 15, "Sorry for Monday", "console:ann")
    grant = CreditGrant.objects.get(entry=entry)
    assert (grant.kind, grant.expires_at) == ("promotion", datetime(2030, 2, 1, tzinfo=UTC))
    audit = AuditEntry.objects.latest("id")
    assert (audit.action, audit.actor, audit.reason) == ("credits.added", "console:ann", "Sorry for Monday")
    assert audit.before == {"credits_remaining": 10}


@pytest.mark.parametrize("page", [TOP_UP, CORRECT])
def test_a_form_that_is_sent_twice_moves_credits_once(tenant: Tenant, ann: AdminClient, page: str) -> None:
    token = ann.get(page, tenant.team_pk).context["form"]["token"].value()
    data = {"amount": "5", "kind": "purchase", "reason": "x", "token": token}
    for _ in range(3):
        assert ann.post(page, tenant.team_pk, **data).status_code == 302
    assert CreditAccount.objects.get().remaining == 15
    assert "sent before" in problems(ann.post(page, tenant.team_pk, **{**data, "amount": "6"})) or page == CORRECT
    assert CreditAccount.objects.get().remaining == 15


def test_a_correction_goes_either_way_but_not_into_what_jobs_hold(tenant: Tenant, ann: AdminClient) -> None:
    hold(tenant.team_pk)
    sent(ann, CORRECT, tenant.team_pk, amount="-4", reason="Counted twice")
    assert LedgerEntry.objects.latest("sequence").kind == "adjustment"
    assert CreditAccount.objects.get().remaining == 6
    before = AuditEntry.objects.count()
    assert "Insufficient credits" in problems(sent(ann, CORRECT, tenant.team_pk, amount="-6", reason="x"))
    assert (CreditAccount.objects.get().remaining, AuditEntry.objects.count()) == (6, before)


@pytest.mark.parametrize("page", [TOP_UP, CORRECT])
@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": "0"}, {"amount": "1.5"}, {"amount": "x"}, {"amount": "1000000001"}, {"amount": "9" * 5000},
        {"amount": ""}, {"reason": ""}, {"reason": "x" * 1025}, {"reason": "a\0b"}, {"token": "x"}, {"token": ""},
    ],
)  # fmt: skip
def test_what_makes_no_sense_moves_nothing(tenant: Tenant, ann: AdminClient, page: str, wrong: dict[str, str]) -> None:
    token = ann.get(page, tenant.team_pk).context["form"]["token"].value()
    data = {"amount": "5", "kind": "purchase", "reason": "x", "token": token, **wrong}
    assert problems(ann.post(page, tenant.team_pk, **data))
    assert CreditAccount.objects.get().remaining == 10


@pytest.mark.parametrize("day", ["2020-01-01", "9999-12-31", "x"])
def test_credits_expire_on_a_day_to_come(tenant: Tenant, ann: AdminClient, day: str) -> None:
    data = {"amount": "5", "kind": "purchase", "reason": "x", "expires_on": day}
    assert problems(sent(ann, TOP_UP, tenant.team_pk, **data))
    assert CreditAccount.objects.get().remaining == 10


def test_a_refill_beyond_the_limit_is_refused(tenant: Tenant, ann: AdminClient) -> None:
    CreditAccount.objects.update(credit_limit=12)
    assert "limit" in problems(sent(ann, TOP_UP, tenant.team_pk, amount="3", kind="refill", reason="x"))
    assert CreditAccount.objects.get().remaining == 10


def test_a_refill_policy_is_set_and_checked_as_a_whole(tenant: Tenant, ann: AdminClient) -> None:
    assert "either amount or fill_to" in problems(sent(ann, POLICY, tenant.team_pk, every="day"))
    assert not RefillPolicy.objects.exists()
    sent(ann, POLICY, tenant.team_pk, every="below", below="5", fill_to="20", credit_limit="100")
    policy = RefillPolicy.objects.select_related("account").get()
    assert (policy.every, policy.below, policy.fill_to, policy.is_enabled) == ("below", 5, 20, True)
    assert policy.account.credit_limit == 100
    assert (AuditEntry.objects.latest("id").action, AuditEntry.objects.latest("id").actor) == (
        "refill_policy.set",
        "console:ann",
    )
    form = ann.get(POLICY, tenant.team_pk).context["form"]
    assert [form[name].value() for name in ("every", "below", "amount", "fill_to")] == ["below", 5, None, 20]


@pytest.mark.parametrize("page", [TOP_UP, CORRECT, POLICY])
def test_moving_credits_needs_its_permission_and_a_post(tenant: Tenant, page: str) -> None:
    viewer = AdminClient(["tenancy.view_team", "billing.change_creditaccount"], name="viewer")
    billing = AdminClient(["tenancy.view_team", "billing.top_up_creditaccount"], name="billing")
    token = billing.get(page, tenant.team_pk).context["form"]["token"].value()
    data = {"amount": "5", "kind": "purchase", "reason": "x", "every": "day", "token": token}
    before = AuditEntry.objects.count()
    assert viewer.get(page, tenant.team_pk).status_code == 403
    assert viewer.post(page, tenant.team_pk, **data).status_code == 403
    assert billing.get(page, tenant.team_pk, **data).status_code == 200
    assert CreditAccount.objects.get().remaining == 10
    assert not RefillPolicy.objects.exists()
    assert AuditEntry.objects.count() == before
    assert billing.post(page, tenant.team_pk, **data).status_code == 302
    assert AuditEntry.objects.count() == before + 1


def test_a_very_long_name_fits_where_it_has_to(tenant: Tenant) -> None:
    client = AdminClient(name="n" * 150)
    sent(client, TOP_UP, tenant.team_pk, amount="5", reason="x")
    sent(client, CORRECT, tenant.team_pk, amount="5", reason="x")
    assert CreditAccount.objects.get().remaining == 20
    assert AuditEntry.objects.latest("id").actor == f"console:{'n' * 150}"


def test_the_ledger_is_filtered_by_kind_organization_team_and_day(tenant: Tenant, ann: AdminClient) -> None:
    other = make_tenant("b")
    charge(tenant.team_pk)
    today = f"{datetime.now(UTC):%Y-%m-%d}"

    def found(**query: str) -> list[tuple[int, str]]:
        entries = ann.get(LEDGER, **query).context["cl"].queryset
        return sorted(entries.values_list("account_id", "kind"))

    mine = [(tenant.team_pk, "allocation"), (tenant.team_pk, "deduction")]
    assert found(team=tenant.team_id) == found(organization=tenant.organization_id) == mine
    assert found(kind__exact="deduction") == mine[1:]
    assert found(team=other.team_id, kind__exact="deduction") == []
    assert len(found(created_at__gte=f"{today} 00:00:00+00:00")) == 3
    assert found(created_at__gte="2099-01-01 00:00:00+00:00") == []
    for nonsense in ({"team": "x\0"}, {"team": NASTY}, {"organization": "'\";--"}):
        assert ann.get(LEDGER, **nonsense).status_code in (200, 302)


NASTY = "<script>alert(1)</script>"
FORMULAS = ["=1+1", "+1", "-1", "@x", "\tx", "\rx"]


def test_the_export_is_the_filtered_list_with_formulas_defused(tenant: Tenant, ann: AdminClient) -> None:
    make_tenant("b")
    for formula in FORMULAS:
        ledger.allocate(team_pk=tenant.team_pk, amount=1, reason=formula, metadata={}, actor="=x()")
    correct(tenant.team_pk, -2)

    rows = rows_of(ann.get(EXPORT, team=tenant.team_id))

    assert {row["team"] for row in rows} == {tenant.team_id}
    assert len(rows) == len(FORMULAS) + 2
    assert {row["reason"] for row in rows} >= {f"'{formula}" for formula in FORMULAS}
    assert rows[0]["amount"] == "-2"
    assert {row["actor"] for row in rows} == {"'=x()", "test"}
    assert len(rows_of(ann.get(EXPORT, kind__exact="adjustment"))) == 1
    assert len(rows_of(ann.get(EXPORT))) == len(FORMULAS) + 3


def test_the_export_reads_as_it_sends(tenant: Tenant, ann: AdminClient, django_assert_max_num_queries: Any) -> None:
    ids = [ledger.Posting(tenant.team_pk, 1, "x" * 1000, {}) for _ in range(3000)]
    ledger.allocate_many(postings=ids, terms=ledger.GrantTerms(), actor="test")
    with django_assert_max_num_queries(8):
        chunks = [len(chunk) for chunk in ann.get(EXPORT).streaming_content]
    assert len(chunks) >= 6
    assert max(chunks) < 700_000


@pytest.mark.django_db(transaction=True)
def test_the_export_streams_under_asgi(tenant: Tenant) -> None:
    give(tenant.team_pk, 3)
    user = User.objects.create_user("ann", is_staff=True, is_superuser=True)

    async def read() -> tuple[int, bytes]:
        client = AsyncClient()
        await client.aforce_login(user)
        response: Any = await client.get("/admin/billing/ledgerentry/export/")
        assert response.is_async
        body = b"".join([chunk async for chunk in response])
        # Its thread's, which nobody would close after the test.
        await sync_to_async(connections.close_all)()
        return response.status_code, body

    status, body = asyncio.run(read())
    assert status == 200
    assert len(list(csv.DictReader(io.StringIO(body.decode())))) == 2


def test_the_export_needs_the_permission_to_view(tenant: Tenant) -> None:
    assert AdminClient(["tenancy.view_team"]).get(EXPORT).status_code == 403
    viewer = AdminClient(["billing.view_ledgerentry"], name="viewer")
    assert viewer.get(EXPORT).status_code == 200
    assert viewer.post(EXPORT).status_code == 405
    assert viewer.get(EXPORT, digest__gt="0").status_code in (200, 302, 400)


def test_the_ledger_links_its_jobs_and_shows_texts_as_texts(tenant: Tenant, ann: AdminClient) -> None:
    ledger.allocate(team_pk=tenant.team_pk, amount=1, reason=NASTY, metadata={"a": NASTY}, actor="test")
    job = tenant.api.post("/api/jobs/create", {"team_id": tenant.team_id, "job_type": "x"}).json()["job_id"]
    tenant.api.post(f"/api/jobs/{job}/complete", {"status": "completed"})
    html = ann.html(LEDGER) + ann.html("billing_ledgerentry_change", LedgerEntry.objects.get(reason=NASTY).pk)
    assert f"/admin/jobs/job/{job}/change/" in html
    assert "export/?" in html
    assert NASTY not in html
    assert "&lt;script&gt;" in html
