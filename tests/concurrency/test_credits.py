"""However many at once: no credit is sold twice, no job is charged twice, the ledger has no gap."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db.models import Sum
from django.utils import timezone

from billing import ledger
from billing.errors import InsufficientCredits
from billing.models import CreditAccount, CreditHold, LedgerEntry
from jobs.errors import JobAlreadyEnded
from jobs.models import Job
from jobs.services.jobs import OpenedJob, end_job, expire_jobs, open_job
from tenancy.models import Team
from tenancy.queries.principals import TeamRef
from tests.concurrency.threads import at_once
from tests.support.api import Tenant, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
CLIENTS = 50


@pytest.fixture(autouse=True)
def sound_ledger(transactional_db: None) -> Iterator[None]:
    """Whatever a test does, the ledger adds up afterwards."""
    yield
    for account in CreditAccount.objects.all():
        entries = list(LedgerEntry.objects.filter(account=account).order_by("sequence"))
        assert [entry.sequence for entry in entries] == list(range(1, account.last_sequence + 1))
        balance = 0
        for entry in entries:
            balance += entry.amount
            assert entry.balance_after == balance
        held = CreditHold.objects.filter(account=account, state="held").aggregate(sum=Sum("amount"))["sum"] or 0
        assert (account.remaining, account.held) == (balance, held)
        assert account.available >= 0


def reference(tenant: Tenant) -> TeamRef:
    return TeamRef(tenant.team_pk, tenant.team_id, tenant.organization_id, is_suspended=False)


def opening(tenant: Tenant) -> Callable[[], OpenedJob]:
    return lambda: open_job(team=reference(tenant), virtual_key_id=None, job_type="x", user_id="", metadata={})


def ending(tenant: Tenant, job: OpenedJob, status: Any = "completed") -> Callable[[], Any]:
    return lambda: end_job(
        job_id=job.job_id, team_pk=tenant.team_pk, status=status, metadata={}, error_message="", actor="test"
    )


def numbers(tenant: Tenant) -> tuple[int, int, int]:
    account = CreditAccount.objects.get(pk=tenant.team_pk)
    return account.allocated, account.used, account.held


@pytest.mark.parametrize("credits_allocated", [1, 7])
def test_the_last_credits_open_as_many_jobs(credits_allocated: int) -> None:
    tenant = make_tenant(credits_allocated=credits_allocated)

    results = at_once([opening(tenant)] * CLIENTS)

    kinds = Counter(type(result) for result in results)
    assert kinds == {OpenedJob: credits_allocated, InsufficientCredits: CLIENTS - credits_allocated}
    assert Job.objects.count() == CreditHold.objects.count() == credits_allocated
    assert numbers(tenant) == (credits_allocated, 0, credits_allocated)


def test_fifty_completions_are_one_deduction() -> None:
    tenant = make_tenant(credits_allocated=5)
    job = opening(tenant)()

    results = at_once([ending(tenant, job)] * CLIENTS)

    assert {(result.credit_applied, result.credits_remaining) for result in results} == {(True, 4)}
    assert len({result.completed_at for result in results}) == 1
    assert LedgerEntry.objects.filter(kind="deduction").count() == 1
    assert numbers(tenant) == (5, 1, 0)


def test_of_two_contradictory_ends_one_wins() -> None:
    tenant = make_tenant(credits_allocated=10)
    for _ in range(5):
        job = opening(tenant)()
        results = at_once([ending(tenant, job, status) for status in ("completed", "failed") * 5])

        final = Job.objects.get(pk=job.job_id).status
        assert Counter(isinstance(result, JobAlreadyEnded) for result in results) == {True: 5, False: 5}
        charged = LedgerEntry.objects.filter(kind="deduction", job_id=job.job_id).exists()
        assert charged is (final == "completed")


def test_a_sweeper_and_a_client_do_not_both_end_a_job() -> None:
    tenant = make_tenant(credits_allocated=10)
    jobs = [opening(tenant)() for _ in range(8)]
    Job.objects.update(expires_at=timezone.now())

    results = at_once([*(ending(tenant, job) for job in jobs), expire_jobs, expire_jobs])

    assert all(isinstance(result, int | JobAlreadyEnded) or result.credit_applied for result in results)
    completed = Job.objects.filter(status="completed").count()
    assert sum(results[-2:]) + completed == len(jobs)
    assert numbers(tenant) == (10, completed, 0)


def test_jobs_opened_and_ended_at_once_leave_nothing_held() -> None:
    tenant = make_tenant(credits_allocated=12)

    def life(status: str) -> Callable[[], Any]:
        def run() -> Any:
            return ending(tenant, opening(tenant)(), status)()

        return run

    results = at_once([life(status) for status in ("completed", "failed") * 6])

    assert not [result for result in results if isinstance(result, Exception)]
    assert numbers(tenant) == (12, 6, 0)


def test_entries_posted_at_once_are_numbered_without_a_gap() -> None:
    tenant = make_tenant(credits_allocated=5)

    def post(amount: int) -> Callable[[], Any]:
        move = ledger.allocate if amount > 0 else ledger.adjust
        return lambda: move(team_pk=tenant.team_pk, amount=amount, reason="", metadata={}, actor="test")

    results = at_once([post(amount) for amount in (3, -2) * 12])

    refused = [result for result in results if isinstance(result, InsufficientCredits)]
    assert all(not isinstance(result, Exception) or result in refused for result in results)
    assert numbers(tenant) == (5 + 36 - 2 * (12 - len(refused)), 0, 0)


def test_two_teams_do_not_wait_for_each_other() -> None:
    tenants = [make_tenant(name, credits_allocated=5) for name in "ab"]

    results = at_once([opening(tenant) for tenant in tenants for _ in range(10)])

    assert Counter(type(result) for result in results) == {OpenedJob: 10, InsufficientCredits: 10}
    assert [Job.objects.filter(team=Team(pk=tenant.team_pk)).count() for tenant in tenants] == [5, 5]
