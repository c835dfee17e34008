"""Two hundred calls of five seconds each: waiting costs neither a thread nor a database connection."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import psycopg
import pytest

from tests.live.burst import Clients, Post, client_processes
from tests.support.live import MESSAGES, MakeStack, Tenants
from tests.support.stack import FakeProvider, Stack

CALLS = 200
ANSWERED_WITHIN_S = 8
HEALTH_WITHIN_S = 0.2
CONNECTIONS = 20
SAMPLE_EVERY_S = 0.2


pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def busy_stack(make_stack: MakeStack) -> Iterator[Stack]:
    """One process of each kind, which nobody else uses: its connections are counted."""
    with make_stack("web", "worker", "maintenance", "beat") as running:
        yield running


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    with client_processes(2) as running:
        yield running


@dataclass
class Samples:
    """What was seen while the calls were in flight."""

    health_s: list[float] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)


@contextmanager
def sampling(stack: Stack) -> Iterator[Samples]:
    """Look at /health and at the service's database connections until the block ends."""
    samples, is_over = Samples(), threading.Event()
    count = """
        SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    """

    def look() -> None:
        with (
            psycopg.connect(stack.database_url, autocommit=True) as connection,
            httpx.Client(base_url=stack.url(), trust_env=False, timeout=10) as client,
        ):
            while not is_over.wait(SAMPLE_EVERY_S):
                started = time.monotonic()
                assert client.get("/health").status_code == 200
                samples.health_s.append(time.monotonic() - started)
                row = connection.execute(count).fetchone()
                samples.connections.append(row[0] if row else 0)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield samples
    finally:
        is_over.set()
        thread.join()


def test_two_hundred_slow_calls_wait_together(
    busy_stack: Stack, provider: FakeProvider, clients: Clients, record_property: Callable[[str, object], None]
) -> None:
    tenants = Tenants.on(busy_stack, provider)
    quick, slow = tenants.group("ok"), tenants.group("slow-5s")
    team = tenants.team([quick, slow])
    url = f"{busy_stack.url()}/api/jobs/{team.open_job()}/llm-call"
    warm_up = [Post(url, team.key, {"model_group": quick, "messages": MESSAGES})] * CALLS
    assert {reply.status for reply in clients.fire(warm_up)} == {200}

    with sampling(busy_stack) as samples:
        started = time.monotonic()
        replies = clients.fire([Post(url, team.key, {"model_group": slow, "messages": MESSAGES})] * CALLS)
        took_s = time.monotonic() - started

    for name, value in {
        "all_answered_s": took_s,
        "slowest_call_s": max(reply.took_s for reply in replies),
        "health_median_s": statistics.median(samples.health_s),
        "health_max_s": max(samples.health_s),
        "connections": max(samples.connections),
    }.items():
        record_property(name, round(value, 3))
        print(f"{name}: {value:.3f}")  # noqa: T201 (the figures, for `pytest -rP`)
    assert {reply.status for reply in replies} == {200}
    assert took_s < ANSWERED_WITHIN_S
    assert statistics.median(samples.health_s) < HEALTH_WITHIN_S
    assert max(samples.connections) <= CONNECTIONS
