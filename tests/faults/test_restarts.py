"""PostgreSQL and Redis restart, five times each, while customers are at work."""

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.embedded import Cluster
from scripts.processes import stop
from tests.faults.customers import Customer
from tests.faults.rules import broken
from tests.faults.scene import HASTY, AtWork
from tests.support.stack import Stack, clean_environment, eventually, manage, running_stack

RESTARTS = range(5)
#: Long enough to be noticed by everything that works.
OUTAGE_S = 1
WORK_GOES_ON_WITHIN_S = 90


class Postgres:
    """A server of our own, because the other tests need theirs."""

    def __init__(self, folder: Path) -> None:
        # Durable: else a crash would forget what was committed.
        self.cluster = Cluster.prepare(folder, durable=True)
        self.process, self.port = self.cluster.start()

    @property
    def url(self) -> str:
        return f"postgresql://app:{self.cluster.password}@127.0.0.1:{self.port}/postgres"

    def crash(self) -> None:
        """PostgreSQL's "immediate" stop: no good-byes, and recovery from its log at the next start."""
        stop(self.process, signal.SIGQUIT)

    def start(self) -> None:
        self.process, _ = self.cluster.start(port=self.port)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.crash()
    shutil.rmtree(server.cluster.home)


@pytest.fixture(scope="module")
def doomed(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environment = clean_environment(DATABASE_URL=postgres.url, REDIS_URL="redis://127.0.0.1:1/0")
    manage(environment, "migrate", "--verbosity", "0")
    with running_stack(tmp_path_factory.mktemp("restarts"), database_url=postgres.url, **HASTY) as stack:
        stack.start("web", "worker", "maintenance", "beat")
        yield stack


@pytest.fixture(scope="module")
def customers(doomed: Stack, at_work: AtWork) -> Iterator[list[Customer]]:
    with at_work(doomed) as working:
        yield working


def assert_that_work_goes_on(stack: Stack, customers: list[Customer]) -> None:
    made = [customer.jobs_done for customer in customers]

    def all_have_made_one() -> bool:
        return all(customer.jobs_done > before for customer, before in zip(customers, made, strict=True))

    eventually(all_have_made_one, "each customer's work goes on", within_s=WORK_GOES_ON_WITHIN_S, log=stack.log("web"))
    assert broken(stack) == {}
    assert [problem for customer in customers for problem in customer.problems] == []


@pytest.mark.parametrize("_", RESTARTS)
def test_redis_restarts_and_forgets_everything(doomed: Stack, customers: list[Customer], _: int) -> None:
    doomed.kill("redis")
    time.sleep(OUTAGE_S)
    doomed.start("redis")

    assert_that_work_goes_on(doomed, customers)


@pytest.mark.parametrize("_", RESTARTS)
def test_postgres_crashes_and_comes_back(doomed: Stack, postgres: Postgres, customers: list[Customer], _: int) -> None:
    postgres.crash()
    time.sleep(OUTAGE_S)
    postgres.start()

    assert_that_work_goes_on(doomed, customers)
