"""An edited row is found, whatever was edited; books that nobody touched are sound."""

import importlib
import random
from typing import Any

import pytest
from django.db import connection

from billing.models import CreditGrant, GrantDraw, LedgerEntry
from billing.queries.books import LEDGER_RULES, breaches
from tests.billing.test_expiry import expiring, later
from tests.support.api import make_tenant
from tests.support.ledger import behind_its_back, charge, correct, give, hold, write_off

#: Column → an expression for another value than the one that is there.
ENTRY_EDITS = {
    "id": "gen_random_uuid()",
    "account_id": "(SELECT team_id FROM billing_creditaccount WHERE last_sequence = 0)",
    "sequence": "sequence + 1000",
    "kind": "CASE kind WHEN 'adjustment' THEN 'allocation' ELSE 'adjustment' END",
    "amount": "amount + 1",
    "balance_after": "balance_after + 1",
    "reason": "reason || '.'",
    "job_id": "gen_random_uuid()",
    "hold_id": "(SELECT id FROM billing_credithold WHERE state = 'held' LIMIT 1)",
    "expired_grant_id": "(SELECT id FROM billing_creditgrant g WHERE g.id IS DISTINCT FROM expired_grant_id LIMIT 1)",
    "grant_kind": "CASE grant_kind WHEN 'promotion' THEN 'purchase' ELSE 'promotion' END",
    "grant_priority": "COALESCE(grant_priority, 0) + 1",
    "grant_expires_at": "COALESCE(grant_expires_at, now()) + interval '1 microsecond'",
    "metadata": """metadata || '{"edited": true}'""",
    "actor": "actor || 'x'",
    "created_at": "created_at - interval '1 microsecond'",
    "digest": "sha256(digest)",
}
OTHER_EDITS = {
    "billing_creditaccount": ["allocated = allocated + 1", "used = used + 1", "held = held + 1", "last_sequence = 99"],
    "billing_creditgrant": [
        "amount = amount + 1",
        "remaining = remaining + 1",
        "is_spent = NOT is_spent",
        "kind = CASE kind WHEN 'promotion' THEN 'purchase' ELSE 'promotion' END",
        "priority = priority + 1",
        "expires_at = COALESCE(expires_at, now()) + interval '1 day'",
        "sequence = sequence + 1000",
        "entry_id = gen_random_uuid()",
        "created_at = created_at - interval '1 second'",
    ],
    "billing_grantdraw": [
        "amount = amount + 1",
        "entry_id = gen_random_uuid()",
        "grant_id = (SELECT id FROM billing_creditgrant g WHERE g.id <> grant_id LIMIT 1)",
    ],
    "billing_credithold": ["amount = amount + 1", "account_id = (SELECT MAX(team_id) + 1 FROM billing_creditaccount)"],
}


@pytest.fixture
def books(db: None) -> int:
    """Two teams that have seen everything that can happen to credits, and one that has seen nothing."""
    make_tenant("c", credits_allocated=0, groups=[])
    teams = [make_tenant(name, credits_allocated=20, groups=[]).team_pk for name in "ab"]
    for team_pk in teams:
        expiring(team_pk, 16, kind="promotion")
        give(team_pk, 3, kind="refill", priority=1)
        correct(team_pk, 2)
        charge(team_pk, 8)
        correct(team_pk, -2)
        hold(team_pk)
        write_off(team_pk, later())
        charge(team_pk, 3)
    return teams[0]


def is_found(cursor: Any, table: str, change: str, row: Any) -> bool:
    """Whether the books are found to be broken once this row is changed; the change is then undone."""
    cursor.execute("SAVEPOINT before_the_edit")
    for constraint in checks_of(cursor, table):
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")
    cursor.execute(f"UPDATE {table} SET {change} WHERE ctid = %s", [row])
    assert cursor.rowcount == 1
    found = bool(breaches(LEDGER_RULES))
    cursor.execute("ROLLBACK TO SAVEPOINT before_the_edit")
    return found


def checks_of(cursor: Any, table: str) -> list[str]:
    cursor.execute("SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('c', 'f')", [table])
    return [name for (name,) in cursor.fetchall()]


def rows_of(cursor: Any, table: str) -> list[Any]:
    cursor.execute(f"SELECT ctid::text FROM {table}")
    return [row for (row,) in cursor.fetchall()]


def test_books_that_nobody_touched_are_sound(books: int) -> None:
    assert breaches(LEDGER_RULES) == []
    assert set(LedgerEntry.objects.values_list("kind", flat=True)) == {
        "allocation",
        "deduction",
        "adjustment",
        "expiry",
    }


def test_the_edits_cover_every_column_of_an_entry() -> None:
    assert set(ENTRY_EDITS) == {field.column for field in LedgerEntry._meta.concrete_fields}


def test_a_hundred_of_a_hundred_edited_entries_are_found(books: int) -> None:
    dice = random.Random(5)
    columns = [*ENTRY_EDITS, *dice.choices(list(ENTRY_EDITS), k=100 - len(ENTRY_EDITS))]
    found = 0
    with behind_its_back() as cursor:
        rows = rows_of(cursor, "billing_ledgerentry")
        for column in columns:
            found += is_found(cursor, "billing_ledgerentry", f"{column} = {ENTRY_EDITS[column]}", dice.choice(rows))
    assert found == len(columns) == 100


@pytest.mark.parametrize(("table", "change"), [(table, edit) for table, edits in OTHER_EDITS.items() for edit in edits])
def test_an_edited_account_grant_draw_or_hold_is_found(books: int, table: str, change: str) -> None:
    with behind_its_back() as cursor:
        assert all(is_found(cursor, table, change, row) for row in rows_of(cursor, table)[:4])


@pytest.mark.parametrize("table", ["billing_ledgerentry", "billing_creditgrant", "billing_grantdraw"])
def test_a_row_that_was_taken_out_is_found(books: int, table: str) -> None:
    with behind_its_back() as cursor:
        for row in rows_of(cursor, table):
            cursor.execute("SAVEPOINT before_the_edit")
            for constraint in [*checks_of(cursor, "billing_creditgrant"), "billing_creditgrant_entry_id_key"]:
                cursor.execute(f"ALTER TABLE billing_creditgrant DROP CONSTRAINT {constraint}")
            cursor.execute(f"DELETE FROM {table} WHERE ctid = %s", [row])
            assert breaches(LEDGER_RULES), row
            cursor.execute("ROLLBACK TO SAVEPOINT before_the_edit")


def test_two_entries_that_were_swapped_are_found(books: int) -> None:
    with behind_its_back() as cursor:
        cursor.execute(
            """
            ALTER TABLE billing_ledgerentry DROP CONSTRAINT ledger_sequence_is_unique;
            UPDATE billing_ledgerentry SET sequence = 21 - sequence WHERE sequence IN (10, 11)
            """
        )
        assert breaches(LEDGER_RULES)


def test_a_breach_says_which_rule_how_often_and_where(books: int) -> None:
    entry = LedgerEntry.objects.filter(account_id=books).latest("sequence")
    with behind_its_back() as cursor:
        cursor.execute("UPDATE billing_ledgerentry SET reason = 'edited' WHERE id = %s", [entry.pk])
        (breach,) = breaches(LEDGER_RULES)
    assert breach.rule.startswith("no entry was edited")
    assert (breach.count, breach.examples) == (1, [f"entry {entry.pk}"])
    assert str(breach).endswith(f"broken 1 times (entry {entry.pk})")


def test_the_migration_makes_of_old_entries_what_the_trigger_makes_of_new_ones(db: None) -> None:
    team_pk = make_tenant("d", credits_allocated=4, groups=[]).team_pk
    for amount in (3, -2, 5, -1):
        give(team_pk, amount) if amount > 0 else correct(team_pk, amount)
        charge(team_pk, 2)
    migration = importlib.import_module("billing.migrations.0004_grant_rules")

    def state() -> Any:
        return (
            list(LedgerEntry.objects.order_by("sequence").values("sequence", "grant_kind", "grant_priority", "digest")),
            list(CreditGrant.objects.order_by("sequence").values("sequence", "kind", "amount", "remaining")),
            list(GrantDraw.objects.order_by("id").values_list("entry", "grant__sequence", "amount")),
        )

    before = state()
    with behind_its_back() as cursor:
        cursor.execute(
            """
            DELETE FROM billing_grantdraw;
            DELETE FROM billing_creditgrant;
            ALTER TABLE billing_ledgerentry ALTER COLUMN digest DROP NOT NULL;
            ALTER TABLE billing_ledgerentry DROP CONSTRAINT ledger_entry_has_terms_if_it_grants;
            UPDATE billing_ledgerentry SET digest = NULL, grant_kind = NULL, grant_priority = NULL;
            """
        )
        cursor.execute(migration.BACKFILL)
        assert state() == before
        assert breaches(LEDGER_RULES) == []


def test_the_digest_does_not_depend_on_the_session(books: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'Asia/Kathmandu'; SET datestyle = 'German'; SET extra_float_digits = 0")
        try:
            assert breaches(LEDGER_RULES) == []
        finally:
            cursor.execute("RESET TIME ZONE; RESET datestyle; RESET extra_float_digits")
