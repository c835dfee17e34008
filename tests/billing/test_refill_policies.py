"""A policy's refill comes once per period, whatever crashes, overlaps or shows the wrong time."""

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from billing.models import CreditAccount, CreditGrant, LedgerEntry, Refill, RefillPolicy
from billing.queries.books import LEDGER_RULES, breaches
from billing.services.refill_policies import PolicyTerms, run_refill_policies, set_refill_policy
from config.foundation.constraints import violated
from tests.concurrency.threads import at_once
from tests.support.api import make_tenant
from tests.support.ledger import balance, charge
from tests.support.refills import kill_after, many_teams

#: A Wednesday.
START = datetime(2030, 5, 15, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock() -> Iterator[Any]:
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def team_pk(db: None) -> int:
    return make_tenant(credits_allocated=0, groups=[]).team_pk


def policy(team_pk: int, every: str = "month", **terms: Any) -> RefillPolicy:
    if "fill_to" not in terms:
        terms.setdefault("amount", 10)
    return set_refill_policy(team_pk=team_pk, terms=PolicyTerms(every=every, **terms))


def run(moment: datetime) -> int:
    return run_refill_policies(now=moment)


def refills(team_pk: int) -> list[tuple[str, int]]:
    return list(Refill.objects.filter(account=team_pk).order_by("id").values_list("batch", "amount"))


def test_the_first_refill_comes_at_once_and_is_a_grant_of_its_kind(team_pk: int) -> None:
    policy(team_pk)
    assert run(START) == 1
    entry = LedgerEntry.objects.get(account_id=team_pk)
    assert (entry.kind, entry.amount, entry.actor, entry.reason) == (
        "allocation", 10, "refill-policy", "Automatic refill",
    )  # fmt: skip
    assert CreditGrant.objects.get(entry=entry).kind == "refill"
    assert breaches(LEDGER_RULES) == []


@pytest.mark.parametrize(
    ("every", "first", "second"),
    [
        ("day", date(2030, 5, 15), date(2030, 5, 16)),
        ("week", date(2030, 5, 13), date(2030, 5, 20)),
        ("month", date(2030, 5, 1), date(2030, 6, 1)),
    ],
)
def test_each_period_is_refilled_once(team_pk: int, every: str, first: date, second: date) -> None:
    policy(team_pk, every)
    start = datetime(second.year, second.month, second.day, tzinfo=UTC)
    for moment in (START, START, start - timedelta(seconds=1), start, start, start + timedelta(hours=23)):
        run(moment)
    assert refills(team_pk) == [(f"policy:{first}", 10), (f"policy:{second}", 10)]


@pytest.mark.parametrize("every", ["day", "week", "month"])
def test_a_clock_that_is_set_back_refills_nothing_again(team_pk: int, every: str) -> None:
    policy(team_pk, every)
    june = datetime(2030, 7, 1, 0, 10, tzinfo=UTC)
    run(START)
    run(june)
    before = refills(team_pk)
    for hours in (1, 24, 24 * 8, 24 * 31):
        assert run(june - timedelta(hours=hours)) == 0
    assert run(june) == 0
    assert refills(team_pk) == before


def test_a_policy_that_was_made_just_after_midnight_is_not_run_for_yesterday(team_pk: int, clock: Any) -> None:
    clock.move_to(datetime(2030, 6, 1, 0, 10, tzinfo=UTC))
    policy(team_pk, "month")
    run(timezone.now())
    assert run(timezone.now() - timedelta(hours=1)) == 0
    assert refills(team_pk) == [("policy:2030-06-01", 10)]


def test_periods_in_which_nothing_ran_are_made_up_for(team_pk: int) -> None:
    policy(team_pk, "month")
    run(START)
    assert run(START + timedelta(days=92)) == 3
    assert [batch for batch, _ in refills(team_pk)] == [f"policy:2030-0{month}-01" for month in (5, 6, 7, 8)]


def test_the_time_in_which_a_policy_was_off_is_not_made_up_for(team_pk: int, clock: Any) -> None:
    policy(team_pk, "day")
    run(START)
    policy(team_pk, "day", is_enabled=False)
    assert run(START + timedelta(days=5)) == 0
    clock.move_to(START + timedelta(days=9))
    policy(team_pk, "day")
    assert run(timezone.now()) == 1
    assert refills(team_pk) == [("policy:2030-05-15", 10), ("policy:2030-05-24", 10)]


def test_switching_off_and_on_or_changing_the_amount_does_not_refill_a_period_again(team_pk: int) -> None:
    policy(team_pk)
    run(START)
    policy(team_pk, is_enabled=False)
    policy(team_pk, amount=99)
    policy(team_pk, "week", amount=99)
    policy(team_pk, "month", amount=99)
    run(START + timedelta(minutes=1))
    assert refills(team_pk) == [("policy:2030-05-01", 10)]


def test_filling_up_adds_what_is_missing_and_may_find_nothing_to_add(team_pk: int) -> None:
    policy(team_pk, "day", fill_to=10)
    run(START)
    charge(team_pk, 4)
    run(START)
    run(START + timedelta(days=1))
    run(START + timedelta(days=2))
    assert [amount for _, amount in refills(team_pk)] == [10, 4, 0]


def test_a_threshold_refills_whenever_too_little_is_available(team_pk: int) -> None:
    policy(team_pk, "below", below=3, fill_to=5)
    assert [run(START) for _ in range(3)] == [1, 0, 0]
    charge(team_pk, 2)
    assert run(START) == 0
    charge(team_pk, 1)
    assert [run(START) for _ in range(3)] == [1, 0, 0]
    assert [amount for _, amount in refills(team_pk)] == [5, 3]


def test_the_credit_limit_is_respected(team_pk: int) -> None:
    policy(team_pk, "day", amount=10, credit_limit=15)
    for day in range(4):
        run(START + timedelta(days=day))
    assert [amount for _, amount in refills(team_pk)] == [10, 5, 0, 0]
    assert balance(team_pk) == (15, 0, 0)


def test_the_monthly_cap_holds_and_begins_again_with_the_month(team_pk: int) -> None:
    policy(team_pk, "week", amount=10, max_per_month=25)
    for week in range(4):
        run(START + timedelta(weeks=week))
    assert [(batch[-5:], amount) for batch, amount in refills(team_pk)] == [
        ("05-13", 10), ("05-20", 10), ("05-27", 5), ("06-03", 10),
    ]  # fmt: skip


def test_the_account_shows_whether_its_policy_is_enabled(team_pk: int) -> None:
    def shown() -> bool:
        return CreditAccount.objects.get(pk=team_pk).auto_refill

    assert not shown()
    policy(team_pk)
    assert shown()
    policy(team_pk, is_enabled=False)
    assert not shown()
    policy(team_pk)
    RefillPolicy.objects.all().delete()
    assert not shown()


def refusal(sql: str) -> str | None:
    with pytest.raises(IntegrityError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
    return violated(caught.value)


def test_the_database_takes_a_period_once_and_in_order_whoever_writes(team_pk: int) -> None:
    policy(team_pk, max_per_month=15)
    run(START)
    insert = (
        "INSERT INTO billing_refill (account_id, batch, row, amount, entry_id, is_automatic, period_start, created_at)"
        " SELECT account_id, {batch}, 1, {amount}, {entry}, true, {period}, created_at FROM billing_refill"
    )
    again = insert.format(batch="'x'", amount=0, entry="NULL", period="period_start")
    assert refusal(again) == "periods_are_refilled_in_order"
    earlier = insert.format(batch="'x'", amount=0, entry="NULL", period="period_start - 1")
    assert refusal(earlier) == "periods_are_refilled_in_order"
    same = insert.format(batch="batch", amount=0, entry="NULL", period="NULL")
    assert refusal(same) == "a_refill_is_made_once"
    more = insert.format(batch="'x'", amount=6, entry="gen_random_uuid()", period="NULL")
    assert refusal(more) == "refills_keep_to_the_monthly_cap"
    assert refusal("UPDATE billing_refill SET batch = 'y'") == "ledger_only_grows"
    assert refusal("DELETE FROM billing_refill") == "ledger_only_grows"


@pytest.mark.django_db(transaction=True)
def test_several_beats_at_once_refill_each_period_once() -> None:
    teams = [make_tenant(name, credits_allocated=0, groups=[]).team_pk for name in "abc"]
    for team_pk, every in zip(teams, ("month", "day", "below"), strict=True):
        policy(team_pk, every, **({"below": 5} if every == "below" else {}))

    results = at_once([lambda: run(START)] * 6)

    assert sum(results) == 3
    assert [balance(team_pk)[0] for team_pk in teams] == [10, 10, 10]


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_killed_in_mid_refill_leaves_none_half_done_and_none_is_done_twice() -> None:
    count = 400
    many_teams(count)
    accounts = CreditAccount.objects.filter(team__team_id__startswith="many-")
    RefillPolicy.objects.bulk_create(
        RefillPolicy(account=account, every="month", amount=7, active_from=START) for account in accounts
    )
    script = (
        "import django; django.setup(); from datetime import datetime;"
        "from billing.services.refill_policies import run_refill_policies;"
        f"run_refill_policies(now=datetime.fromisoformat('{START.isoformat()}'))"
    )
    done = kill_after(count // 4, [sys.executable, "-c", script])
    assert count // 4 <= done < count
    assert LedgerEntry.objects.count() == Refill.objects.count()

    assert run(START) == count - done
    assert run(START) == 0

    assert set(accounts.values_list("allocated", flat=True)) == {7}
    assert LedgerEntry.objects.count() == Refill.objects.count() == count
    assert breaches(LEDGER_RULES) == []
