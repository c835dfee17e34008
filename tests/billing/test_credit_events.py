"""Events about credits: a refill, and the last credit used."""

from django.db import transaction

from billing import ledger
from billing.services.credits import add_credits
from tests.jobs.test_jobs import complete, open_job
from tests.support.api import Tenant, make_tenant
from tests.support.events import events, subscribe, subscribe_organization


def refill(tenant: Tenant, amount: int) -> None:
    add_credits(team_pk=tenant.team_pk, amount=amount, reason="March", metadata={"note": "x"}, actor="op")


def test_added_credits_are_told_of(tenant: Tenant) -> None:
    subscribe(tenant)
    refill(tenant, 5)

    (event,) = events()
    assert event == {
        "type": "credits.refilled",
        "team_id": tenant.team_id,
        "organization_id": tenant.organization_id,
        "transaction_id": event["transaction_id"],
        "credits_amount": 5,
        "credits_remaining": 15,
        "reason": "March",
    }


def test_a_new_teams_first_credits_are_told_to_its_organization(tenant: Tenant) -> None:
    subscribe_organization(tenant, "credits.refilled")
    other = make_tenant("b")
    assert events() == []
    refill(tenant, 1)
    refill(other, 1)
    assert [event["team_id"] for event in events()] == [tenant.team_id]


def test_a_budget_is_exhausted_once_when_its_last_credit_is_used(db: None) -> None:
    tenant = make_tenant(credits_allocated=2)
    subscribe(tenant, "budget.exhausted")
    for _ in range(2):
        complete(tenant, open_job(tenant))
    assert tenant.api.post("/api/jobs/create", {"team_id": tenant.team_id, "job_type": "x"}).status_code == 402

    (event,) = events()
    assert (event["credits_allocated"], event["credits_used"], event["credits_remaining"]) == (2, 2, 0)


def test_a_credit_that_is_only_held_does_not_exhaust_it(db: None) -> None:
    tenant = make_tenant(credits_allocated=1)
    subscribe(tenant, "budget.exhausted")
    for _ in range(3):
        complete(tenant, open_job(tenant), "failed")
    assert events() == []


def test_a_budget_that_was_refilled_can_be_exhausted_again(db: None) -> None:
    tenant = make_tenant(credits_allocated=1)
    subscribe(tenant, "budget.exhausted")
    for _ in range(2):
        complete(tenant, open_job(tenant))
        refill(tenant, 1)
    assert len(events()) == 2


def test_an_adjustment_to_nothing_exhausts_it_and_one_that_is_rolled_back_does_not(tenant: Tenant) -> None:
    subscribe(tenant, "budget.exhausted")
    with transaction.atomic():
        ledger.adjust(team_pk=tenant.team_pk, amount=-10, reason="", metadata={}, actor="")
        transaction.set_rollback(True)
    assert events() == []
    ledger.adjust(team_pk=tenant.team_pk, amount=-10, reason="", metadata={}, actor="")
    assert len(events()) == 1
