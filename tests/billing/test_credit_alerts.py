"""Alerts about credits: below a threshold, and so many percent used."""

from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from billing import ledger
from billing.services import alerts
from billing.services.credits import add_credits
from jobs.models import Call
from tenancy.models import Alert, Team
from tests.support.api import Tenant, make_tenant
from tests.support.events import events, subscribe


@pytest.fixture(autouse=True)
def _thresholds(settings: Any) -> None:
    settings.CREDITS_LOW_THRESHOLDS, settings.BUDGET_ALERT_PERCENTS = [3, 5], [80, 100]


def spend(tenant: Tenant, amount: int) -> None:
    for _ in range(amount):
        job = tenant.api.post("/api/jobs/create", {"team_id": tenant.team_id, "job_type": "x"}).json()["job_id"]
        assert tenant.api.post(f"/api/jobs/{job}/complete", {"status": "completed"}).status_code == 200


def alerted(rule: Alert.Rule = Alert.Rule.CREDITS_LOW) -> list[str]:
    alerts.evaluate()
    found = Alert.objects.filter(rule=rule, state="open").order_by("threshold")
    return [f"{alert.subject}/{alert.threshold}" for alert in found]


def test_each_threshold_is_crossed_once(tenant: Tenant) -> None:
    subscribe(tenant, "credits.low")
    assert alerted() == []
    spend(tenant, 5)
    assert alerted() == []
    spend(tenant, 1)
    assert alerted() == alerted() == [f"{tenant.team_id}/5"]
    spend(tenant, 2)
    assert alerted() == [f"{tenant.team_id}/3", f"{tenant.team_id}/5"]
    assert [(event["threshold"], event["credits_remaining"]) for event in events()] == [("5", 4), ("3", 2)]


def test_a_refill_ends_it_and_the_next_crossing_is_told_of_again(tenant: Tenant) -> None:
    subscribe(tenant, "credits.low")
    spend(tenant, 6)
    alerted()
    add_credits(team_pk=tenant.team_pk, amount=1, reason="", metadata={}, actor="test")
    assert alerted() == []
    spend(tenant, 1)
    assert alerted() == [f"{tenant.team_id}/5"]
    assert len(events()) == 2


def test_a_team_may_have_thresholds_of_its_own(tenant: Tenant) -> None:
    Team.objects.filter(pk=tenant.team_pk).update(credits_low_thresholds=[8])
    spend(tenant, 2)
    assert alerted() == []
    spend(tenant, 6)
    assert alerted() == [f"{tenant.team_id}/8"]


def test_zero_is_never(tenant: Tenant) -> None:
    Team.objects.filter(pk=tenant.team_pk).update(credits_low_thresholds=[0])
    spend(tenant, 10)
    assert alerted() == []


def test_a_team_that_never_had_credits_has_not_run_low(db: None) -> None:
    make_tenant(credits_allocated=0)
    assert alerted() == alerted(Alert.Rule.BUDGET_USED) == []


def test_a_budget_is_told_of_at_80_and_at_100_percent(tenant: Tenant) -> None:
    budget = Alert.Rule.BUDGET_USED
    spend(tenant, 7)
    assert alerted(budget) == []
    spend(tenant, 1)
    assert alerted(budget) == [f"{tenant.team_id}/80"]
    spend(tenant, 2)
    assert alerted(budget) == [f"{tenant.team_id}/100", f"{tenant.team_id}/80"]
    ledger.allocate(team_pk=tenant.team_pk, amount=2, reason="", metadata={}, actor="test")
    assert alerted(budget) == [f"{tenant.team_id}/80"]


def test_a_budget_is_told_of_when_calls_have_spent_it(tenant: Tenant) -> None:
    """Direct calls use no credit, but what the credits are worth."""
    call = Call.objects.create(team_id=tenant.team_pk, model_group="g", deadline_at=timezone.now())
    Call.objects.filter(pk=call.pk).update(state="succeeded", ended_at=timezone.now(), cost_usd="0.79")
    assert alerted(Alert.Rule.BUDGET_USED) == []
    Call.objects.filter(pk=call.pk).update(cost_usd="0.80")
    assert alerted(Alert.Rule.BUDGET_USED) == [f"{tenant.team_id}/80"]
    data = Alert.objects.get(rule=Alert.Rule.BUDGET_USED).data
    assert (Decimal(data["spent_usd"]), Decimal(data["budget_usd"])) == (Decimal("0.8"), Decimal(1))


def test_teams_are_looked_at_each_for_itself(tenant: Tenant) -> None:
    other = make_tenant("b", credits_allocated=4)
    assert alerted() == [f"{other.team_id}/5"]
