"""Expired credits are written off once, and never those that an open job counts on."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from billing import ledger
from billing.models import CreditGrant, LedgerEntry
from billing.services.expiry import WrittenOff, expire_credits, expiring_credits
from tests.concurrency.threads import at_once
from tests.support.api import make_tenant
from tests.support.ledger import balance, charge, give, hold

NEXT_WEEK = timedelta(days=7)


@pytest.fixture
def team_pk(db: None) -> int:
    return make_tenant(credits_allocated=0, groups=[]).team_pk


def later() -> datetime:
    return timezone.now() + NEXT_WEEK


def expiring(team_pk: int, amount: int, days: int = 1, **terms: Any) -> LedgerEntry:
    return give(team_pk, amount, expires_at=timezone.now() + timedelta(days=days), **terms)


def test_the_remainder_of_an_expired_grant_is_an_entry_of_its_own(team_pk: int) -> None:
    give(team_pk, 3)
    promotion = expiring(team_pk, 5)
    charge(team_pk, 2)

    assert expire_credits(now=later()) == WrittenOff(accounts=1, credits=3)

    entry = LedgerEntry.objects.get(kind="expiry")
    grant = CreditGrant.objects.get(entry=promotion)
    assert (entry.amount, entry.expired_grant, entry.balance_after, entry.actor) == (-3, grant, 3, "expire_credits")
    assert list(entry.draws.values_list("grant", "amount")) == [(grant.pk, 3)]
    assert (grant.remaining, grant.is_spent) == (0, True)
    assert balance(team_pk) == (5, 2, 0)


def test_expiring_again_writes_nothing_off(team_pk: int) -> None:
    expiring(team_pk, 5)
    assert expire_credits(now=later()).credits == 5
    assert expire_credits(now=later()) == WrittenOff()
    assert LedgerEntry.objects.filter(kind="expiry").count() == 1


def test_nothing_expires_before_its_time_or_without_one(team_pk: int) -> None:
    give(team_pk, 5)
    expiring(team_pk, 5, days=30)
    assert expiring_credits(now=later()) == expire_credits(now=later()) == WrittenOff()
    assert balance(team_pk) == (10, 0, 0)


def test_what_an_open_job_holds_can_be_charged_after_it_expired(team_pk: int) -> None:
    promotion = expiring(team_pk, 5)
    jobs = [hold(team_pk) for _ in range(2)]

    assert expire_credits(now=later()).credits == 3
    assert expire_credits(now=later()).credits == 0
    charged, given_back = (job for job in jobs if job)
    assert ledger.capture_hold(job_id=charged, reason="", actor="test") is not None
    assert ledger.release_hold(job_id=given_back) is not None
    assert hold(team_pk) is not None, "until the next run, what was given back is still good"

    assert CreditGrant.objects.get(entry=promotion).remaining == 1


def test_what_a_job_gave_back_expires_with_the_next_run(team_pk: int) -> None:
    expiring(team_pk, 5)
    job = hold(team_pk)
    assert expire_credits(now=later()).credits == 4
    assert job is not None
    ledger.release_hold(job_id=job)
    assert expire_credits(now=later()).credits == 1
    assert balance(team_pk) == (0, 0, 0)


def test_holds_keep_other_grants_before_expired_ones(team_pk: int) -> None:
    give(team_pk, 2)
    expiring(team_pk, 4)
    for _ in range(2):
        hold(team_pk)
    assert expire_credits(now=later()).credits == 4
    assert balance(team_pk) == (2, 0, 2)


def test_several_grants_expire_each_with_an_entry(team_pk: int) -> None:
    grants = [expiring(team_pk, amount, days=day) for amount, day in ((2, 1), (3, 2), (4, 3))]
    hold(team_pk)
    expire_credits(now=later())
    written = LedgerEntry.objects.filter(kind="expiry").order_by("sequence")
    assert list(written.values_list("expired_grant__entry", "amount")) == [
        (grants[0].pk, -2),
        (grants[1].pk, -3),
        (grants[2].pk, -3),
    ]


def test_a_dry_run_says_how_much_and_changes_nothing(
    team_pk: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expiring(team_pk, 5)
    now = later()
    monkeypatch.setattr("billing.services.expiry.timezone.now", lambda: now)

    call_command("expire_credits", "--dry-run")
    assert capsys.readouterr().out == "would write off up to 5 credits of 1 accounts\n"
    assert balance(team_pk) == (5, 0, 0)

    call_command("expire_credits")
    call_command("expire_credits")
    assert capsys.readouterr().out.splitlines() == [
        "wrote off 5 credits of 1 accounts",
        "wrote off 0 credits of 0 accounts",
    ]


@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_beside_jobs_write_each_credit_off_once() -> None:
    team_pk = make_tenant(credits_allocated=0, groups=[]).team_pk
    expiring(team_pk, 20)

    def job() -> None:
        opened = hold(team_pk)
        if opened is not None:
            ledger.capture_hold(job_id=opened, reason="", actor="test")

    results = at_once([*[lambda: expire_credits(now=later())] * 4, *[job] * 8])

    assert not [result for result in results if isinstance(result, Exception)]
    expire_credits(now=later())
    allocated, used, held = balance(team_pk)
    assert (allocated - used, held) == (0, 0)
    written_off = -sum(LedgerEntry.objects.filter(kind="expiry").values_list("amount", flat=True))
    assert written_off + used == 20
