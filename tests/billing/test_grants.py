"""Every credit comes from a grant, and every entry that takes some says from which."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from billing.errors import CreditLimitExceeded
from billing.models import CreditAccount, CreditGrant, GrantDraw, LedgerEntry
from config.foundation.constraints import violated
from config.foundation.errors import InvalidInput
from tests.support.api import Tenant, make_tenant
from tests.support.ledger import balance, charge, correct, give


def soon(days: int) -> datetime:
    return timezone.now() + timedelta(days=days)


@pytest.fixture
def team_pk(db: None) -> int:
    return make_tenant(credits_allocated=0, groups=[]).team_pk


def left(*entries: LedgerEntry) -> list[int]:
    remaining = dict(CreditGrant.objects.values_list("entry_id", "remaining"))
    return [remaining[entry.pk] for entry in entries]


def test_an_allocation_is_a_grant_with_its_terms(team_pk: int) -> None:
    expires_at = soon(3)
    entry = give(team_pk, 5, kind="promotion", expires_at=expires_at, priority=7)

    grant = CreditGrant.objects.get(entry=entry)
    assert (grant.account_id, grant.sequence, grant.kind, grant.priority) == (team_pk, 1, "promotion", 7)
    assert (grant.amount, grant.remaining, grant.is_spent, grant.expires_at) == (5, 5, False, expires_at)


def test_what_nobody_gave_terms_is_a_purchase_that_never_expires(tenant: Tenant) -> None:
    grant = CreditGrant.objects.get(account_id=tenant.team_pk)
    assert (grant.kind, grant.priority, grant.expires_at, grant.amount) == ("purchase", 100, None, 10)


def test_a_correction_upwards_is_a_grant_and_one_downwards_draws_on_some(team_pk: int) -> None:
    upwards = correct(team_pk, 4)
    assert CreditGrant.objects.get(entry=upwards).kind == "adjustment"

    downwards = correct(team_pk, -3)

    assert left(upwards) == [1]
    assert list(downwards.draws.values_list("grant__entry", "amount")) == [(upwards.pk, 3)]


def test_grants_are_drawn_on_by_priority_then_expiry_then_age(team_pk: int) -> None:
    old = give(team_pk, 1)
    never = give(team_pk, 1)
    later = give(team_pk, 1, expires_at=soon(2))
    sooner = give(team_pk, 1, expires_at=soon(1))
    first = give(team_pk, 1, priority=1)

    order = []
    for _ in range(5):
        charge(team_pk)
        order.append(GrantDraw.objects.latest("id").grant.entry_id)

    assert order == [entry.pk for entry in (first, sooner, later, old, never)]


def test_an_entry_draws_on_as_many_grants_as_it_needs(team_pk: int) -> None:
    grants = [give(team_pk, amount) for amount in (3, 2, 4)]

    entry = correct(team_pk, -6)

    assert left(*grants) == [0, 0, 3]
    assert list(entry.draws.order_by("id").values_list("amount", flat=True)) == [3, 2, 1]
    assert CreditGrant.objects.filter(is_spent=True).count() == 2


def test_a_team_draws_on_its_own_grants_only(team_pk: int) -> None:
    mine, theirs = give(team_pk, 1), give(make_tenant("b", credits_allocated=0, groups=[]).team_pk, 1, priority=1)
    charge(team_pk)
    assert left(mine, theirs) == [0, 1]


def test_what_remains_of_all_grants_is_the_balance(team_pk: int) -> None:
    for amount in (5, 2, -3, 4, -7):
        give(team_pk, amount) if amount > 0 else correct(team_pk, amount)
    allocated, used, _ = balance(team_pk)
    assert sum(CreditGrant.objects.values_list("remaining", flat=True)) == allocated - used == 1


def test_a_refill_does_not_go_beyond_the_credit_limit_but_a_purchase_may(team_pk: int) -> None:
    CreditAccount.objects.filter(pk=team_pk).update(credit_limit=10)
    give(team_pk, 10, kind="refill")

    with pytest.raises(CreditLimitExceeded, match="A refill of 1 credits would exceed the credit limit of 10"):
        give(team_pk, 1, kind="refill")
    assert balance(team_pk) == (10, 0, 0)

    give(team_pk, 1, kind="purchase")
    assert balance(team_pk) == (11, 0, 0)


def test_a_grant_does_not_start_expired(team_pk: int) -> None:
    with pytest.raises(InvalidInput, match="expires_at: must be in the future"):
        give(team_pk, 1, expires_at=timezone.now() - timedelta(seconds=1))
    assert balance(team_pk) == (0, 0, 0)


def test_an_entry_can_be_posted_where_constraints_are_checked_at_once(team_pk: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        give(team_pk, 2)
        charge(team_pk)
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    assert balance(team_pk) == (2, 1, 0)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE billing_creditgrant SET remaining = 5",
        "DELETE FROM billing_creditgrant",
        "UPDATE billing_grantdraw SET amount = 2",
        "DELETE FROM billing_grantdraw",
        "INSERT INTO billing_grantdraw (entry_id, grant_id, amount) SELECT entry_id, id, 1 FROM billing_creditgrant",
    ],
)
def test_grants_and_draws_are_the_triggers_own(team_pk: int, sql: str) -> None:
    give(team_pk, 9)
    charge(team_pk)
    before: Any = [list(model.objects.values()) for model in (CreditGrant, GrantDraw)]
    with pytest.raises(IntegrityError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
    assert violated(caught.value) == "grants_follow_the_ledger"
    assert [list(model.objects.values()) for model in (CreditGrant, GrantDraw)] == before
