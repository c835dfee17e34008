"""The ledger's rules hold in the database itself: each test tries to break one."""

import uuid
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from billing import ledger
from billing.errors import InsufficientCredits
from billing.models import CreditAccount, CreditHold, LedgerEntry
from config.foundation.constraints import violated
from tenancy.models import Team
from tests.support.api import Tenant, make_tenant

#: What an insert of an entry needs; the trigger overwrites sequence and balance_after.
ENTRY = """
    INSERT INTO billing_ledgerentry
        (id, account_id, sequence, kind, amount, balance_after, reason, job_id, hold_id, metadata, actor, created_at)
    VALUES (gen_random_uuid(), %(account)s, 0, %(kind)s, %(amount)s, 0, '', %(job)s, %(hold)s, '{}', '', now())
"""


def broken_rule(sql: str, parameters: Any = ()) -> str | None:
    with pytest.raises(IntegrityError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, parameters)
    return violated(caught.value)


def entry(tenant: Tenant, kind: str, amount: int, *, job: Any = None, hold: Any = None) -> dict[str, Any]:
    return {"account": tenant.team_pk, "kind": kind, "amount": amount, "job": job, "hold": hold}


def place_hold(tenant: Tenant) -> CreditHold:
    hold: dict[str, Any] = {"hold_id": uuid.uuid4(), "team_pk": tenant.team_pk, "job_id": uuid.uuid4()}
    with connection.cursor() as cursor:
        cursor.execute(ledger.PLACE_HOLD, hold)
    return CreditHold.objects.get(pk=hold["hold_id"])


def numbers(tenant: Tenant) -> tuple[int, int, int]:
    account = CreditAccount.objects.get(pk=tenant.team_pk)
    return account.allocated, account.used, account.held


def test_an_entry_cannot_be_updated_or_deleted(tenant: Tenant) -> None:
    assert broken_rule("UPDATE billing_ledgerentry SET reason = 'other'") == "ledger_only_grows"
    assert broken_rule("DELETE FROM billing_ledgerentry") == "ledger_only_grows"


def test_a_hold_cannot_be_deleted(tenant: Tenant) -> None:
    place_hold(tenant)
    assert broken_rule("DELETE FROM billing_credithold") == "ledger_only_grows"


@pytest.mark.parametrize("column", ["allocated", "used", "held", "last_sequence"])
def test_a_balance_cannot_be_written_directly(tenant: Tenant, column: str) -> None:
    assert broken_rule(f"UPDATE billing_creditaccount SET {column} = {column} + 1") == "account_is_derived"  # noqa: S608


def test_an_account_starts_empty(tenant: Tenant) -> None:
    team = Team.objects.create(organization=Team.objects.get(pk=tenant.team_pk).organization, team_id="bare")
    sql = """
        INSERT INTO billing_creditaccount (team_id, allocated, used, held, last_sequence, auto_refill, created_at)
        VALUES (%s, 5, 0, 0, 0, false, now())
    """
    assert broken_rule(sql, [team.pk]) == "account_starts_empty"


def test_more_than_is_left_cannot_be_held(db: None) -> None:
    tenant = make_tenant("b", credits_allocated=1)
    place_hold(tenant)
    sql = ledger.PLACE_HOLD
    held = {"hold_id": uuid.uuid4(), "team_pk": tenant.team_pk, "job_id": uuid.uuid4()}

    assert broken_rule(sql, held) == "account_is_never_overdrawn"
    assert numbers(tenant) == (1, 0, 1)


def test_held_credits_cannot_be_taken_away(db: None) -> None:
    tenant = make_tenant("b", credits_allocated=2)
    place_hold(tenant)

    with pytest.raises(InsufficientCredits) as caught:
        ledger.adjust(team_pk=tenant.team_pk, amount=-2, reason="", metadata={}, actor="test")

    assert str(caught.value) == "Insufficient credits. Required: 2, Available: 1"
    assert numbers(tenant) == (2, 0, 1)


@pytest.mark.parametrize(
    ("kind", "amount"), [("allocation", 0), ("allocation", -1), ("adjustment", 0), ("deduction", -1), ("gift", 1)]
)
def test_an_entry_must_make_sense(tenant: Tenant, kind: str, amount: int) -> None:
    assert broken_rule(ENTRY, entry(tenant, kind, amount)) == "ledger_entry_makes_sense"


def test_a_deduction_captures_an_open_hold_of_its_job_account_and_amount(tenant: Tenant) -> None:
    hold, other = place_hold(tenant), make_tenant("b")
    wrong = [
        entry(tenant, "deduction", -1, job=uuid.uuid4(), hold=hold.id),
        entry(tenant, "deduction", -2, job=hold.job_id, hold=hold.id),
        entry(other, "deduction", -1, job=hold.job_id, hold=hold.id),
        entry(tenant, "deduction", -1, job=hold.job_id, hold=uuid.uuid4()),
    ]
    # Without anything held in that account, the account's own rule speaks first.
    rules = {"deduction_captures_an_open_hold", "account_held_is_not_negative"}
    assert {broken_rule(ENTRY, deduction) for deduction in wrong} == rules
    assert numbers(tenant) == (10, 0, 1)


def test_a_job_is_deducted_once(tenant: Tenant) -> None:
    hold = place_hold(tenant)
    ledger.capture_hold(job_id=hold.job_id, reason="", actor="test")
    place_hold(tenant)

    assert ledger.capture_hold(job_id=hold.job_id, reason="", actor="test") is None
    again = entry(tenant, "deduction", -1, job=hold.job_id, hold=hold.id)
    assert broken_rule(ENTRY, again) in {
        "deduction_captures_an_open_hold",
        "one_deduction_per_job",
        "one_entry_per_hold",
    }
    assert numbers(tenant) == (10, 1, 1)


def test_a_job_has_one_hold(tenant: Tenant) -> None:
    hold = place_hold(tenant)
    again = {"hold_id": uuid.uuid4(), "team_pk": tenant.team_pk, "job_id": hold.job_id}

    assert broken_rule(ledger.PLACE_HOLD, again) == "one_hold_per_job"
    assert numbers(tenant) == (10, 0, 1)


@pytest.mark.parametrize("state", ["captured", "released", "expired"])
def test_a_hold_starts_held(tenant: Tenant, state: str) -> None:
    sql = ledger.PLACE_HOLD.replace("'held'", f"'{state}'")
    hold = {"hold_id": uuid.uuid4(), "team_pk": tenant.team_pk, "job_id": uuid.uuid4()}
    assert broken_rule(sql, hold) == "hold_starts_held"


def test_a_hold_is_captured_by_its_deduction_only(tenant: Tenant) -> None:
    place_hold(tenant)
    sql = "UPDATE billing_credithold SET state = 'captured', ended_at = now(), balance_after = 9"
    assert broken_rule(sql) == "hold_is_captured_by_its_deduction"


@pytest.mark.parametrize(
    "change", ["state = 'held', ended_at = NULL", "state = 'expired'", "amount = 2, state = 'expired'"]
)
def test_a_hold_that_has_ended_stays_as_it_is(tenant: Tenant, change: str) -> None:
    hold = place_hold(tenant)
    ledger.release_hold(job_id=hold.job_id)
    assert broken_rule(f"UPDATE billing_credithold SET {change}") == "hold_ends_once"  # noqa: S608
    assert numbers(tenant) == (10, 0, 0)


@pytest.mark.parametrize("change", ["amount = 2", "job_id = gen_random_uuid()"])
def test_nothing_of_an_open_hold_changes_but_its_end(tenant: Tenant, change: str) -> None:
    place_hold(tenant)
    sql = f"UPDATE billing_credithold SET {change}, state = 'released', ended_at = now()"  # noqa: S608
    assert broken_rule(sql) == "hold_ends_once"


def test_a_sequence_is_given_by_the_ledger_and_has_no_gaps(tenant: Tenant) -> None:
    broken_rule(ENTRY, entry(tenant, "allocation", 0))
    for amount in (5, 7):
        ledger.allocate(team_pk=tenant.team_pk, amount=amount, reason="", metadata={}, actor="test")
    ledger.adjust(team_pk=tenant.team_pk, amount=-3, reason="", metadata={}, actor="test")

    rows = LedgerEntry.objects.filter(account_id=tenant.team_pk).order_by("sequence")
    assert [(row.sequence, row.amount, row.balance_after) for row in rows] == [
        (1, 10, 10),
        (2, 5, 15),
        (3, 7, 22),
        (4, -3, 19),
    ]


def test_a_hold_knows_the_balance_after_it(tenant: Tenant) -> None:
    charged, given_back = place_hold(tenant), place_hold(tenant)

    captured = ledger.capture_hold(job_id=charged.job_id, reason="", actor="test")
    released = ledger.release_hold(job_id=given_back.job_id, as_state="expired")

    assert captured == ledger.EndedHold("captured", 9)
    assert released == ledger.EndedHold("expired", 9)
    assert numbers(tenant) == (10, 1, 0)
