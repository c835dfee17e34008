"""Whatever is done to an account at once: nothing is lost, nothing happens twice, and the books are sound."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import ledger
from billing.errors import InsufficientCredits
from billing.models import CreditGrant, LedgerEntry, Refill
from billing.queries.books import LEDGER_RULES, breaches
from billing.services.expiry import expire_credits
from billing.services.refills import RefillOrder, RefillRow, refill
from tests.billing.test_expiry import expiring, later
from tests.concurrency.threads import at_once
from tests.support.api import Tenant, make_tenant
from tests.support.ledger import balance, correct, give, hold

ACTIONS = st.lists(
    st.sampled_from(["give", "take", "job", "end the same", "expire", "refill", "refill again"]),
    min_size=6,
    max_size=10,
)


def action(name: str, tenant: Tenant, job: Any) -> Callable[[], Any]:
    pk = tenant.team_pk

    def a_job() -> bool:
        opened = hold(pk)
        return opened is not None and ledger.capture_hold(job_id=opened, reason="", actor="test") is not None

    def a_refill(batch: str) -> Any:
        rows = [RefillRow(1, tenant.team_id, amount=2)]
        return refill(rows=rows, order=RefillOrder(batch, actor="test"))

    return {
        "give": lambda: give(pk, 3),
        "take": lambda: correct(pk, -2),
        "job": a_job,
        "end the same": lambda: ledger.capture_hold(job_id=job, reason="", actor="test"),
        "expire": lambda: expire_credits(now=later()),
        "refill": lambda: a_refill("one"),
        "refill again": lambda: a_refill("one"),
    }[name]


@pytest.mark.django_db(transaction=True)
def test_nothing_is_lost_and_nothing_happens_twice() -> None:
    count = iter(range(1_000))

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(names=ACTIONS)
    def at_once_on_a_new_team(names: list[str]) -> None:
        tenant = make_tenant(f"t{next(count)}", credits_allocated=0, groups=[])
        expiring(tenant.team_pk, 4)
        give(tenant.team_pk, 5)
        job = hold(tenant.team_pk)

        results = at_once([action(name, tenant, job) for name in names])

        failures = [result for result in results if isinstance(result, Exception)]
        assert all(isinstance(failure, InsufficientCredits) for failure in failures)
        entries = LedgerEntry.objects.filter(account_id=tenant.team_pk)
        charged = sum(result is True for result in results) + ("end the same" in names)
        taken = 2 * (names.count("take") - len(failures))
        expired = -sum(entries.filter(kind="expiry").values_list("amount", flat=True))
        refilled = 2 * any(name.startswith("refill") for name in names)
        assert balance(tenant.team_pk) == (
            9 + 3 * names.count("give") + refilled - taken - expired,
            charged,
            "end the same" not in names,
        )
        assert Refill.objects.filter(account=tenant.team_pk).count() == bool(refilled)
        allocated, used, _ = balance(tenant.team_pk)
        grants = CreditGrant.objects.filter(account=tenant.team_pk)
        assert sum(grants.values_list("remaining", flat=True)) == allocated - used
        assert breaches(LEDGER_RULES) == []

    at_once_on_a_new_team()
