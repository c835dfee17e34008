"""Refill policies and the terms of grants over HTTP."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing.models import CreditAccount, CreditGrant, RefillPolicy
from billing.services.refill_policies import run_refill_policies
from tests.support.api import ApiClient, Tenant, make_operator, make_tenant

MONTHLY = {"every": "month", "amount": 100}


def path(tenant: Tenant, call: str = "refill-policy") -> str:
    return f"/api/credits/teams/{tenant.team_id}/{call}"


def test_a_policy_that_was_set_is_shown_and_carried_out(operator: ApiClient, tenant: Tenant) -> None:
    body = {**MONTHLY, "max_per_month": 300, "credit_limit": 500}
    answer = operator.put(path(tenant), body).json()

    updated_at = answer.pop("updated_at")
    assert answer == {
        "team_id": "team_a", "every": "month", "amount": 100, "fill_to": None, "below": None, "max_per_month": 300,
        "credit_limit": 500, "is_enabled": True,
    }  # fmt: skip
    assert tenant.api.get(path(tenant)).json() == {**answer, "updated_at": updated_at}
    balance = tenant.api.get(path(tenant, "balance")).json()
    assert (balance["auto_refill"], balance["credit_limit"]) == (True, 500)

    run_refill_policies()
    assert tenant.api.get(path(tenant, "balance")).json()["credits_remaining"] == 110


def test_put_replaces_the_whole_and_delete_ends_it(operator: ApiClient, tenant: Tenant) -> None:
    operator.put(path(tenant), {**MONTHLY, "credit_limit": 500})
    answer = operator.put(path(tenant), {"every": "below", "below": 5, "fill_to": 20, "is_enabled": False}).json()
    assert (answer["amount"], answer["fill_to"], answer["below"], answer["credit_limit"]) == (None, 20, 5, None)
    assert tenant.api.get(path(tenant, "balance")).json()["auto_refill"] is False

    assert operator.delete(path(tenant)).json() == {"team_id": "team_a", "deleted": True}
    for answer in (operator.delete(path(tenant)), operator.get(path(tenant))):
        assert (answer.status_code, answer.json()["detail"]) == (404, "Team 'team_a' has no refill policy")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "every"),
        ({"every": "year", "amount": 1}, "every"),
        ({"every": "month"}, "amount"),
        ({"every": "month", "amount": 1, "fill_to": 1}, "amount"),
        ({"every": "month", "amount": 1, "below": 1}, "below"),
        ({"every": "below", "amount": 1}, "below"),
        ({"every": "below", "below": 5, "fill_to": 4}, "fill_to"),
        ({"every": "month", "amount": 0}, "amount"),
        ({"every": "month", "amount": "5"}, "amount"),
        ({"every": "month", "amount": 10**10}, "amount"),
        ({"every": "month", "amount": 1, "max_per_month": 0}, "max_per_month"),
        ({"every": "month", "amount": 1, "credit_limit": -1}, "credit_limit"),
        ({"every": "month", "amount": 1, "is_enabled": "yes"}, "is_enabled"),
        ({"every": "month", "amount": 1, "is_enabled": None}, "is_enabled"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(
    operator: ApiClient, tenant: Tenant, body: dict[str, Any], field: str
) -> None:
    answer = operator.put(path(tenant), body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
    assert not RefillPolicy.objects.exists()
    assert CreditAccount.objects.get().credit_limit is None


def test_only_operators_with_the_scope_set_policies_and_others_see_no_other_team(
    operator: ApiClient, tenant: Tenant
) -> None:
    other = make_tenant("b")
    reader = make_operator("reader", ["read"])
    for client, code in ((tenant.api, "operator_required"), (reader, "insufficient_scope")):
        for answer in (client.put(path(tenant), MONTHLY), client.delete(path(tenant))):
            assert (answer.status_code, answer.json()["code"]) == (403, code)
    operator.put(path(tenant), MONTHLY)
    assert other.api.get(path(tenant)).json()["code"] == "wrong_team"
    assert ApiClient().get(path(tenant)).status_code == 401
    assert reader.get(path(tenant)).status_code == 200
    assert operator.put("/api/credits/teams/team_none/refill-policy", MONTHLY).status_code == 404


def test_added_credits_may_be_a_gift_that_expires(operator: ApiClient, tenant: Tenant) -> None:
    expires_at = timezone.now() + timedelta(days=30)
    body = {"credits_amount": 5, "kind": "promotion", "expires_at": expires_at.isoformat(), "priority": 1}
    assert operator.post(path(tenant, "add"), body).status_code == 200
    grant = CreditGrant.objects.get(kind="promotion")
    assert (grant.amount, grant.priority, grant.expires_at) == (5, 1, expires_at)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "adjustment"), ("kind", None), ("expires_at", "2020-01-01T00:00:00Z"), ("expires_at", "tomorrow"),
        ("expires_at", 5), ("expires_at", "0001-01-01T00:00:00+14:00"), ("expires_at", "9999-12-31T23:59:59-14:00"),
        ("priority", -1), ("priority", 1001), ("priority", "1"),
    ],
)  # fmt: skip
def test_terms_that_make_no_sense_are_refused(operator: ApiClient, tenant: Tenant, field: str, value: object) -> None:
    answer = operator.post(path(tenant, "add"), {"credits_amount": 5, field: value})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
    assert CreditGrant.objects.count() == 1


def test_a_refill_beyond_the_limit_is_a_conflict(operator: ApiClient, tenant: Tenant) -> None:
    CreditAccount.objects.update(credit_limit=12)
    answer = operator.post(path(tenant, "add"), {"credits_amount": 5, "kind": "refill"})
    assert (answer.status_code, answer.json()["code"]) == (409, "credit_limit_exceeded")
    assert operator.post(path(tenant, "add"), {"credits_amount": 5}).status_code == 200
