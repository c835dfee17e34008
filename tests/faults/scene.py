"""A stack that is made to be broken, and customers who must not notice more than they were promised."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.faults.customers import Customer
from tests.faults.rules import broken
from tests.support.live import Tenants
from tests.support.stack import FakeProvider, Stack, StackError, eventually

CUSTOMERS = 5
#: Soon enough to see many deaths recovered from, and far from what an overloaded machine takes for a beat.
HASTY = {"WORKER_HEARTBEAT_S": "0.5", "WORKER_LOST_AFTER_S": "4"}
SETTLED_WITHIN_S = 120

AtWork = Callable[[Stack], AbstractContextManager[list[Customer]]]


class Supervisor(Thread):
    """Starts a worker that has died again, as every supervisor does. gunicorn and Celery's prefork do it themselves."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self.stack = stack
        self._enough = Event()

    def run(self) -> None:
        while not self._enough.wait(0.1):
            if self.stack.children["worker"].process.poll() is not None:
                self.stack.kill("worker")
                # It may die again before it is ready: there is work waiting for it, and a point that is armed.
                with suppress(StackError):
                    self.stack.start("worker")

    def leave(self) -> None:
        self._enough.set()
        self.join()


@pytest.fixture(scope="session")
def failpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a file of a point's name makes a process die there."""
    return tmp_path_factory.mktemp("failpoints")


@pytest.fixture(scope="session")
def at_work(provider: FakeProvider) -> AtWork:
    """Customers in every form of a call, with a first model that fails; at the end all must be as they were told."""

    @contextmanager
    def working(stack: Stack) -> Iterator[list[Customer]]:
        tenants = Tenants.on(stack, provider)
        group = tenants.group("status-503", "tokens-5-at-50")
        customers = [Customer(tenants.team([group], credits_allocated=10_000), first=n) for n in range(CUSTOMERS)]
        supervisor = Supervisor(stack)
        for thread in (supervisor, *customers):
            thread.start()
        yield customers
        for customer in customers:
            customer.leave()
        for customer in customers:
            customer.join(timeout=120)
        supervisor.leave()
        check(stack, customers)

    return working


def check(stack: Stack, customers: list[Customer]) -> None:
    """Nothing is lost, nothing is charged twice, and nobody has a problem."""
    log = stack.log("maintenance")
    eventually(lambda: not broken(stack, at_rest=True), "all comes to rest", within_s=SETTLED_WITHIN_S, log=log)
    assert [problem for customer in customers for problem in customer.problems] == []
    assert all(customer.jobs_done for customer in customers)
    for customer in customers:
        charged = stack.query(
            """
            SELECT e.job_id::text FROM billing_ledgerentry e JOIN tenancy_team t ON t.id = e.account_id
            WHERE t.team_id = %s AND e.kind = 'deduction'
            """,
            customer.team.team_id,
        )
        jobs = [row["job_id"] for row in charged]
        assert len(jobs) == len(set(jobs))
        assert set(jobs) == customer.charged
