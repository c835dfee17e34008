"""Balance, add, check and transactions over HTTP."""

import re
import uuid
from typing import Any

import pytest

from billing import ledger
from billing.models import CreditAccount, LedgerEntry
from jobs.models import Job
from tests.support.api import ApiClient, Tenant, make_tenant

AMOUNTS_REFUSED = [0, -1, 1.5, 5.0, "5", True, None, [], {}, 1_000_000_001, 10**30]


def path(tenant: Tenant, call: str) -> str:
    return f"/api/credits/teams/{tenant.team_id}/{call}"


def open_job(tenant: Tenant) -> str:
    answer = tenant.api.post("/api/jobs/create", {"team_id": tenant.team_id, "job_type": "document_analysis"})
    assert answer.status_code == 200, answer.json()
    return str(answer.json()["job_id"])


def ledger_of(tenant: Tenant) -> list[tuple[int, str, int, int]]:
    rows = LedgerEntry.objects.filter(account_id=tenant.team_pk).order_by("sequence")
    return list(rows.values_list("sequence", "kind", "amount", "balance_after"))


def links(answer: Any) -> dict[str, str]:
    return {rel: url for url, rel in re.findall(r'<http://testserver([^>]+)>; rel="(\w+)"', answer.headers["Link"])}


def test_the_balance_has_the_guides_fields_and_what_is_held(tenant: Tenant) -> None:
    done, _open = open_job(tenant), open_job(tenant)
    tenant.api.post(f"/api/jobs/{done}/complete", {"status": "completed"})

    assert tenant.api.get(path(tenant, "balance")).json() == {
        "team_id": "team_a",
        "credits_allocated": 10,
        "credits_used": 1,
        "credits_remaining": 9,
        "credits_held": 1,
        "credits_available": 8,
        "credit_limit": None,
        "auto_refill": False,
        "budget_usd": 1,
    }


def test_the_budget_is_the_allocation_times_the_price_of_a_credit(db: None, settings: Any) -> None:
    tenant = make_tenant(credits_allocated=3)
    assert tenant.api.get(path(tenant, "balance")).json()["budget_usd"] == 0.3
    settings.CREDIT_PRICE_USD = "0.125"
    assert tenant.api.get(path(tenant, "balance")).json()["budget_usd"] == 0.375


def test_no_credits_are_a_budget_of_nothing(db: None) -> None:
    tenant = make_tenant(credits_allocated=0)
    balance = tenant.api.get(path(tenant, "balance")).json()
    assert (balance["budget_usd"], balance["credits_available"]) == (0, 0)


def test_added_credits_are_an_entry_that_says_who_and_why(operator: ApiClient, tenant: Tenant) -> None:
    body = {"credits_amount": 500, "reason": "Monthly refill", "metadata": {"invoice_id": "INV-123"}}
    answer = operator.post(path(tenant, "add"), body).json()

    assert (answer["team_id"], answer["credits_added"], answer["credits_remaining"]) == ("team_a", 500, 510)
    entry = LedgerEntry.objects.get(pk=answer["transaction"]["transaction_id"])
    assert (entry.kind, entry.amount, entry.balance_after, entry.sequence) == ("allocation", 500, 510, 2)
    assert (entry.reason, entry.metadata) == ("Monthly refill", {"invoice_id": "INV-123"})
    assert entry.actor.startswith("operator:")
    assert ledger_of(tenant) == [(1, "allocation", 10, 10), (2, "allocation", 500, 510)]


def test_added_credits_open_jobs_at_once(operator: ApiClient, db: None) -> None:
    tenant = make_tenant(credits_allocated=0)
    body = {"team_id": tenant.team_id, "job_type": "x"}
    refused = tenant.api.post("/api/jobs/create", body)
    assert (refused.status_code, refused.json()["detail"]) == (402, "Insufficient credits. Required: 1, Available: 0")
    assert not Job.objects.exists()

    operator.post(path(tenant, "add"), {"credits_amount": 1})

    assert tenant.api.post("/api/jobs/create", body).status_code == 200
    assert tenant.api.post("/api/jobs/create", body).status_code == 402
    assert Job.objects.count() == 1


def test_a_team_mints_no_credits(tenant: Tenant) -> None:
    answer = tenant.api.post(path(tenant, "add"), {"credits_amount": 500})

    assert (answer.status_code, answer.json()["code"]) == (403, "operator_required")
    assert ledger_of(tenant) == [(1, "allocation", 10, 10)]


@pytest.mark.parametrize("amount", AMOUNTS_REFUSED, ids=str)
def test_an_amount_is_a_positive_whole_number(operator: ApiClient, tenant: Tenant, amount: Any) -> None:
    for body in ({"credits_amount": amount}, {"amount": 5}):
        answer = operator.post(path(tenant, "add"), body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "credits_amount")
    assert ledger_of(tenant) == [(1, "allocation", 10, 10)]


def test_reason_and_metadata_may_be_null_and_a_billion_is_the_most(operator: ApiClient, tenant: Tenant) -> None:
    body = {"credits_amount": 1_000_000_000, "reason": None, "metadata": None}
    entry = operator.post(path(tenant, "add"), body).json()["transaction"]
    assert (entry["credits_amount"], entry["reason"], entry["metadata"]) == (1_000_000_000, "", {})


@pytest.mark.parametrize(("required", "available"), [(1, True), (8, True), (9, False), (1_000_000_000, False)])
def test_check_answers_from_what_is_available_and_sets_nothing_aside(
    tenant: Tenant, required: int, available: bool
) -> None:
    open_job(tenant)
    open_job(tenant)
    for _ in range(2):
        answer = tenant.api.post(path(tenant, "check"), {"credits_required": required})
        assert answer.json() == {"available": available, "credits_remaining": 10, "credits_available": 8}
    assert CreditAccount.objects.get(pk=tenant.team_pk).held == 2


def test_check_asks_for_one_credit_by_default_and_refuses_nonsense(tenant: Tenant) -> None:
    assert tenant.api.post(path(tenant, "check")).json()["available"] is True
    for required in AMOUNTS_REFUSED:
        answer = tenant.api.post(path(tenant, "check"), {"credits_required": required})
        assert answer.status_code == 400, required


def test_a_transaction_has_the_guides_fields(tenant: Tenant) -> None:
    job = open_job(tenant)
    tenant.api.post(f"/api/jobs/{job}/complete", {"status": "completed"})

    body = tenant.api.get(path(tenant, "transactions")).json()

    assert (body["team_id"], body["total_transactions"], len(body["transactions"])) == ("team_a", 2, 2)
    newest = body["transactions"][0]
    uuid.UUID(newest.pop("transaction_id"))
    assert newest.pop("created_at").endswith("Z")
    assert newest == {
        "team_id": "team_a",
        "transaction_type": "deduction",
        "credits_amount": 1,
        "direction": "debit",
        "balance_after": 9,
        "reason": "Job document_analysis completed successfully",
        "job_id": job,
        "metadata": {},
    }


def test_a_failed_job_leaves_no_transaction(tenant: Tenant) -> None:
    tenant.api.post(f"/api/jobs/{open_job(tenant)}/complete", {"status": "failed"})
    assert tenant.api.get(path(tenant, "transactions")).json()["total_transactions"] == 1


def test_a_correction_shows_which_way_it_went(tenant: Tenant) -> None:
    for amount in (-4, 2):
        ledger.adjust(team_pk=tenant.team_pk, amount=amount, reason="", metadata={}, actor="test")
    rows = tenant.api.get(path(tenant, "transactions")).json()["transactions"]
    assert [(row["transaction_type"], row["credits_amount"], row["direction"]) for row in rows] == [
        ("adjustment", 2, "credit"),
        ("adjustment", 4, "debit"),
        ("allocation", 10, "credit"),
    ]


def test_following_the_links_shows_every_transaction_once_in_both_directions(
    operator: ApiClient, tenant: Tenant
) -> None:
    for amount in range(1, 7):
        operator.post(path(tenant, "add"), {"credits_amount": amount})

    def walk(url: str, rel: str) -> list[list[int]]:
        pages, following = [], links(tenant.api.get(url))
        while True:
            answer = tenant.api.get(url)
            assert answer.json()["total_transactions"] == 7
            pages.append([row["balance_after"] for row in answer.json()["transactions"]])
            following = links(answer)
            if rel not in following:
                return pages
            url = following[rel]

    expected = [[31, 25, 20], [16, 13, 11], [10]]
    start = links(tenant.api.get(path(tenant, "transactions") + "?limit=3"))
    assert walk(start["first"], "next") == expected
    assert walk(start["last"], "prev") == expected[::-1]


def test_beyond_the_end_is_an_empty_page_that_leads_back(tenant: Tenant) -> None:
    answer = tenant.api.get(path(tenant, "transactions"), limit=10, offset=2**63 - 1)

    assert (answer.json()["transactions"], answer.json()["total_transactions"]) == ([], 1)
    assert "next" not in links(answer)
    for rel in ("first", "prev", "last"):
        assert tenant.api.get(links(answer)[rel]).json()["transactions"], rel


def test_an_empty_ledger_is_one_empty_page(db: None) -> None:
    tenant = make_tenant(credits_allocated=0)
    answer = tenant.api.get(path(tenant, "transactions"))
    assert (answer.json()["transactions"], answer.json()["total_transactions"]) == ([], 0)
    assert set(links(answer)) == {"first", "last"}


def test_the_links_keep_the_rest_of_the_query(tenant: Tenant) -> None:
    answer = tenant.api.get(f"/api/teams/{tenant.team_id}/jobs", limit=1, status="pending", note="a b&c")
    assert "status=pending" in links(answer)["first"]
    assert "note=a+b%26c" in links(answer)["first"]


@pytest.mark.parametrize("call", ["balance", "check", "transactions"])
def test_an_operator_reads_any_team_and_a_team_only_itself(operator: ApiClient, tenant: Tenant, call: str) -> None:
    other = make_tenant("b")

    def ask(client: ApiClient, team_id: str) -> Any:
        url = f"/api/credits/teams/{team_id}/{call}"
        return client.post(url) if call == "check" else client.get(url)

    assert ask(operator, "team_a").status_code == 200
    unknown = ask(operator, "team_none")
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "Team 'team_none' not found")
    for team_id in (other.team_id, "team_none"):
        refused = ask(tenant.api, team_id)
        assert (refused.status_code, refused.json()["code"]) == (403, "wrong_team")
        assert refused.json()["detail"] == f"API key does not belong to team '{team_id}'"
