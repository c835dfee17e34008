"""Bugs planted one at a time into the ledger: the ledger's checks find each of them, and find nothing without them.

The checks are a scripted life of two accounts, tries to break the rules, verify_ledger, and a few runs of the state
machine.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from billing import ledger
from billing.errors import CreditLimitExceeded, InsufficientCredits
from billing.models import LedgerEntry
from billing.queries.books import LEDGER_RULES, breaches
from billing.services import refills
from billing.services.expiry import expire_credits
from tests.billing.machine import LedgerMachine
from tests.billing.test_expiry import expiring, later
from tests.concurrency.threads import at_once
from tests.support.api import make_tenant
from tests.support.ledger import balance, behind_its_back, charge, give, hold

POST, HOLD, END, USE, DIGEST = (
    f"billing_{name}" for name in ("post_entry", "place_hold", "end_hold", "use_grants", "entry_digest")
)

#: Bug → the function that has it, and what stands there instead of what.
IN_FUNCTIONS = {
    "wrong sign": (POST, "used = used - CASE", "used = used + CASE"),
    "a charge leaves its credit held": (POST, "CASE WHEN NEW.hold_id IS NULL THEN 0 ELSE NEW.amount END", "0"),
    "a charge is taken twice": (POST, "CASE WHEN NEW.kind = 'deduction' THEN 0 ELSE NEW.amount END", "NEW.amount"),
    "sequences skip": (POST, "last_sequence + 1", "last_sequence + 2"),
    "sequences stand still": (POST, "last_sequence = last_sequence + 1", "last_sequence = GREATEST(last_sequence, 1)"),
    "the balance after leaves out what was used": (POST, "allocated - used, credit_limit", "allocated, credit_limit"),
    "the credit limit is ignored": (POST, "NEW.balance_after > most", "false"),
    "a hold may be of another account": (POST, "AND account_id = NEW.account_id AND job_id", "AND job_id"),
    "grants are not used": (POST, "PERFORM billing_use_grants(NEW);", ""),
    "digests are not chained": (POST, "COALESCE(previous, '')", "''"),
    "a digest leaves out the reason": (DIGEST, "quote_literal(e.reason)", "''"),
    "a hold holds nothing": (HOLD, "held = held + NEW.amount", "held = held"),
    "a release gives nothing back": (END, "held = held - NEW.amount", "held = held"),
    "a flag can be toggled back": (END, "OLD.state <> 'held' OR", ""),
    "draws in the wrong order": (USE, "expires_at ASC NULLS LAST", "expires_at DESC NULLS FIRST"),
    "priority is ignored": (USE, "ORDER BY priority,", "ORDER BY"),
    "draws on other teams' grants": (USE, "account_id = e.account_id AND NOT is_spent", "NOT is_spent"),
    "a draw leaves the grant as it was": (USE, "remaining = g.remaining - next.amount", "remaining = g.remaining"),
    "expiry draws on any grant": (USE, "COALESCE(e.expired_grant_id, id)", "id"),
}
#: Bug → the statement that plants it.
IN_TABLES = {
    "entries can be edited": "DROP TRIGGER entries_are_immutable ON billing_ledgerentry",
    "balances can be written": "DROP TRIGGER guard_account ON billing_creditaccount",
    "grants can be written": "DROP TRIGGER grants_follow_the_ledger ON billing_creditgrant",
    "credits can be oversold": "ALTER TABLE billing_creditaccount DROP CONSTRAINT account_is_never_overdrawn",
    "a job can be held for twice": "ALTER TABLE billing_credithold DROP CONSTRAINT one_hold_per_job",
}


def replace(function: str, old: str, new: str) -> str:
    """The function with the bug, as SQL."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef(%s::regproc)", [function])
        (text,) = cursor.fetchone()
    assert text.count(old) == 1, (function, old, text.count(old))
    return text.replace(old, new)


@contextmanager
def undone() -> Iterator[Any]:
    """Whatever is done inside is rolled back."""
    with transaction.atomic(), connection.cursor() as cursor:
        # What is pending would keep tables from being altered.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
        yield cursor
        transaction.set_rollback(True)


@dataclass
class First:
    """Stands for Hypothesis's choice in a script: the first, or the last."""

    index: int = 0

    def draw(self, strategy: Any) -> Any:
        return strategy.elements[self.index]


# --- The checks ---------------------------------------------------------------------------------------------


def scripted_life() -> None:
    machines = [LedgerMachine(), LedgerMachine()]
    steps: list[Callable[[LedgerMachine], object]] = [
        lambda m: m.grant(amount=1, priority=1, days=None),
        lambda m: m.grant(amount=3, priority=100, days=1),
        lambda m: m.expire(days=0),
        lambda m: m.expire(days=1),
        lambda m: m.grant(amount=3, priority=100, days=None),
        lambda m: m.grant(amount=2, priority=100, days=1),
        lambda m: m.grant(amount=2, priority=1, days=3),
        *[lambda m: m.open()] * 5,
        lambda m: m.end(data=First(), how="captured"),
        lambda m: m.end(data=First(), how="captured"),
        lambda m: m.end(data=First(-1), how="released"),
        lambda m: m.end(data=First(-2), how="expired"),
        lambda m: m.open_again(data=First()),
        lambda m: m.adjust(amount=-2),
        lambda m: m.adjust(amount=-5),
        lambda m: m.expire(days=2),
        lambda m: m.refill(batch="x", number=1, amount=4, to=False),
        lambda m: m.refill(batch="x", number=1, amount=4, to=False),
        lambda m: m.limit(limit=6),
        lambda m: m.refill(batch="x", number=2, amount=9, to=False),
        lambda m: m.end(data=First(1), how="captured"),
        lambda m: m.grant(amount=3, priority=100, days=1),
        *[lambda m: m.open()] * 12,
        lambda m: m.expire(days=2),
        lambda m: m.end(data=First(-1), how="released"),
        lambda m: m.expire(days=0),
    ]
    for step in steps:
        for machine in machines:
            step(machine)
            machine.agrees_with_the_model()
    for machine in machines:
        machine.teardown()


FORBIDDEN = (
    "UPDATE billing_ledgerentry SET reason = 'edited'",
    "UPDATE billing_creditaccount SET allocated = allocated + 1",
    "UPDATE billing_creditgrant SET remaining = remaining - 1 WHERE remaining > 1",
    "UPDATE billing_credithold SET state = 'released' WHERE state = 'expired'",
    "UPDATE billing_creditaccount SET held = held + 1",
)


def tries_to_break_the_rules() -> None:
    a, b = (make_tenant(name, credits_allocated=5, groups=[]).team_pk for name in "yz")
    job = hold(a)
    assert job is not None
    hold(b)
    entry = """
        INSERT INTO billing_ledgerentry (id, account_id, sequence, kind, amount, balance_after, reason, job_id, hold_id,
                                         metadata, actor, created_at)
        SELECT gen_random_uuid(), %s, 0, 'deduction', -1, 0, '', job_id, id, '{}', '', now()
        FROM billing_credithold WHERE job_id = %s
    """
    tries: list[tuple[str, Any]] = [(entry, [b, job]), *((sql, None) for sql in FORBIDDEN)]
    for sql, parameters in tries:
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, parameters)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_creditaccount SET credit_limit = 5 WHERE team_id = %s", [a])
    with pytest.raises(CreditLimitExceeded):
        give(a, 1, kind="refill")
    with behind_its_back() as cursor:
        cursor.execute("UPDATE billing_ledgerentry SET reason = 'edited' WHERE sequence = 1 AND account_id = %s", [a])
        assert breaches(LEDGER_RULES)


def a_few_runs() -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=12, stateful_step_count=25, deadline=None, database=None, derandomize=True,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


def everything() -> None:
    scripted_life()
    tries_to_break_the_rules()
    assert breaches(LEDGER_RULES) == []
    a_few_runs()
    assert breaches(LEDGER_RULES) == []


def everything_at_once() -> None:
    team_pk = make_tenant("t", credits_allocated=0, groups=[]).team_pk
    expiring(team_pk, 8)
    give(team_pk, 20)
    job = hold(team_pk)
    assert job is not None
    results = at_once(
        [
            *[lambda: expire_credits(now=later())] * 4,
            *[lambda: give(team_pk, 3)] * 4,
            *[lambda: ledger.capture_hold(job_id=job, reason="", actor="test")] * 4,
            *[lambda: charge(team_pk)] * 4,
        ]
    )
    assert not [result for result in results if isinstance(result, Exception)]
    expired = -sum(LedgerEntry.objects.filter(kind="expiry").values_list("amount", flat=True))
    assert balance(team_pk) == (8 + 20 + 4 * 3 - expired, 5, 0)
    assert breaches(LEDGER_RULES) == []


# --- The bugs -----------------------------------------------------------------------------------------------

#: How a check says that it has found something.
FOUND = (AssertionError, IntegrityError, pytest.fail.Exception, InsufficientCredits)


def test_without_a_bug_the_checks_find_nothing(db: None) -> None:
    with undone():
        everything()


@pytest.mark.parametrize("bug", IN_FUNCTIONS)
def test_a_bug_in_a_function_is_found(db: None, bug: str) -> None:
    with undone() as cursor:
        cursor.execute(replace(*IN_FUNCTIONS[bug]))
        with pytest.raises(FOUND):
            everything()


@pytest.mark.parametrize("bug", IN_TABLES)
def test_a_missing_rule_is_found(db: None, bug: str) -> None:
    with undone() as cursor:
        cursor.execute(IN_TABLES[bug])
        with pytest.raises(FOUND):
            everything()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a.allocated - a.used - a.held", "a.allocated - a.used"),
        ("g.expires_at <= %(now)s", "g.expires_at IS NOT NULL"),
        ("-LEAST(remaining, available - before)", "-LEAST(remaining, 1)"),
    ],
    ids=["expiry takes what is held", "expiry comes too early", "expiry takes too little"],
)
def test_a_bug_in_the_expiry_is_found(db: None, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    assert old in ledger._WRITE_OFF
    monkeypatch.setattr(ledger, "_WRITE_OFF", ledger._WRITE_OFF.replace(old, new))
    with undone(), pytest.raises(FOUND):
        everything()


def test_a_charge_that_does_not_look_whether_the_hold_is_open_is_found(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = ledger._ended
    monkeypatch.setattr(
        ledger, "_ended", lambda state, sql, values: ended(state, sql.replace("AND state = 'held'", ""), values)
    )
    with undone(), pytest.raises(FOUND):
        everything()


def test_a_refill_that_forgets_what_it_did_is_found(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refills, "_done_before", lambda *_: {})
    with undone(), pytest.raises(FOUND):
        everything()


@pytest.mark.django_db(transaction=True)
def test_without_a_bug_nothing_goes_wrong_at_once() -> None:
    everything_at_once()


@pytest.mark.django_db(transaction=True)
def test_a_lost_update_is_found() -> None:
    """The account is read, and written later: what others wrote in between is lost."""
    old = "UPDATE billing_creditaccount SET\n        allocated = allocated +"
    new = """SELECT allocated INTO most FROM billing_creditaccount WHERE team_id = NEW.account_id;
    PERFORM pg_sleep(0.02);
    UPDATE billing_creditaccount SET
        allocated = most +"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef('billing_post_entry'::regproc)")
        (sound,) = cursor.fetchone()
        cursor.execute(replace(POST, old, new))
        try:
            with pytest.raises(FOUND):
                everything_at_once()
        finally:
            cursor.execute(sound)


@pytest.mark.django_db(transaction=True)
def test_a_missing_lock_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The expiry computes from figures that others change before it posts."""
    monkeypatch.setattr("django.db.models.query.QuerySet.select_for_update", lambda self, **_: self)
    monkeypatch.setattr(
        ledger,
        "_WRITE_OFF",
        ledger._WRITE_OFF.replace("FROM billing_creditgrant g", "FROM pg_sleep(0.2), billing_creditgrant g"),
    )
    with pytest.raises(FOUND):
        everything_at_once()
