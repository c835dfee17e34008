"""What `make bench` measures with: clients, provider, /proc. A wrong instrument would show in no figure."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import procfs
from benchmarks.load import Load, Plan, Target, running_load
from benchmarks.measure import quantile
from benchmarks.profiling import Looks
from benchmarks.provider import MARKER
from benchmarks.systems.base import chat_body
from tests.support.stack import FakeProvider, fake_provider


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProvider]:
    with fake_provider(tmp_path_factory.mktemp("provider"), "benchmarks.provider") as running:
        yield running


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    with running_load() as running:
        yield running


def target(provider: FakeProvider, behaviour: str, *, stream: bool = False, expect: str = MARKER) -> Target:
    path = f"/{behaviour}/v1/chat/completions"
    return Target(provider.port, [path], chat_body("gpt-4o-mini", stream=stream), expect=expect)


def test_as_many_requests_are_made_as_planned(provider: FakeProvider, load: Load) -> None:
    outcome = load.run(Plan(target(provider, "latency-0"), clients=4, requests=50))
    assert (len(outcome.latencies_ms), outcome.errors) == (50, {})


def test_a_latency_is_the_providers_and_little_more(provider: FakeProvider, load: Load) -> None:
    outcome = load.run(Plan(target(provider, "latency-50"), clients=2, requests=10))
    assert min(outcome.latencies_ms) >= 50
    assert outcome.elapsed_s >= 0.25


def test_an_answer_from_elsewhere_is_an_error(provider: FakeProvider, load: Load) -> None:
    outcome = load.run(Plan(target(provider, "latency-0", expect="no such text"), clients=1, requests=3))
    assert (outcome.latencies_ms, outcome.errors) == ([], {"another answer": 3})


def test_an_error_status_is_an_error(provider: FakeProvider, load: Load) -> None:
    outcome = load.run(Plan(target(provider, "no-such-behaviour"), clients=1, requests=3))
    assert (outcome.latencies_ms, outcome.errors) == ([], {"status 404": 3})


def test_no_answer_in_time_is_an_error(provider: FakeProvider, load: Load) -> None:
    outcome = load.run(Plan(target(provider, "latency-5000"), clients=2, requests=2, timeout_s=0.2))
    assert (outcome.latencies_ms, outcome.errors) == ([], {"no answer in time": 2})


def test_each_token_of_a_stream_is_timed(provider: FakeProvider, load: Load) -> None:
    plan = Plan(target(provider, "tokens-10-at-50", stream=True, expect="@"), clients=3, requests=3)
    outcome = load.run(plan)
    assert (len(outcome.first_ms), len(outcome.lags_ms), outcome.errors) == (3, 30, {})
    assert min(outcome.lags_ms) >= 0
    assert min(outcome.latencies_ms) >= 10 / 50 * 1000 * 0.9


def test_a_busy_process_uses_cpu_time() -> None:
    before = procfs.cpu_ms({"us": [os.getpid()]})["us"]
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    assert procfs.cpu_ms({"us": [os.getpid()]})["us"] - before >= 250


def test_children_count_with_their_parent(load: Load) -> None:
    assert load.pid in procfs.trees({"us": [os.getpid()]})["us"]
    assert procfs.memory({"us": [os.getpid()]})["us"].rss_mb > procfs.memory({"it": [load.pid]})["it"].rss_mb > 0


def test_quantiles_are_values_that_were_seen() -> None:
    assert [quantile([4, 1, 3, 2], share) for share in (0, 0.5, 0.99)] == [1, 3, 4]
    assert quantile([], 0.5) == 0


def test_a_function_is_counted_once_for_each_stack_and_waiting_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "stacks.folded"
    file.write_text(
        "main (a.py:1);work (b.py:2);work (b.py:2) 3\n"
        "main (a.py:1) 1\n"
        "main (a.py:1);Condition.wait (threading.py:295) 9\n"
    )
    looks = Looks.read(file)
    assert looks.total == 4
    assert looks.own == {"work (b.py:2)": 3, "main (a.py:1)": 1}
    assert looks.within == {"work (b.py:2)": 3, "main (a.py:1)": 4}
