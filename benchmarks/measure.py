"""One measurement: clients ask a system for a while, and what that took is read from /proc."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks import procfs
from benchmarks.load import Outcome, Plan, Target
from benchmarks.systems.base import Bench, System

#: The benchmark's own processes, whose CPU time is no system's.
HARNESS = ("provider", "clients")
MEMORY_EVERY_S = 0.5


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclass(frozen=True)
class Sample:
    """What one measurement found."""

    system: str
    cell: str
    round: int
    clients: int
    calls: int
    errors: dict[str, int]
    elapsed_s: float
    calls_per_s: float
    p50_ms: float
    p99_ms: float
    #: CPU time per call of each process of the system, and of the benchmark's own.
    cpu_ms_per_call: dict[str, float]
    #: The share of the machine that others used meanwhile: systems that wait for their turn, and strangers.
    elsewhere_share: float
    statements_per_call: float | None
    first_ms: dict[str, float] = field(default_factory=dict)
    lag_ms: dict[str, float] = field(default_factory=dict)
    tokens: int = 0

    @property
    def system_cpu_ms(self) -> float:
        """Per call, over all of the system's processes."""
        return sum(ms for name, ms in self.cpu_ms_per_call.items() if name not in HARNESS)


@dataclass(frozen=True)
class Cell:
    """A row of the table: how many clients, and how the provider behaves."""

    behaviour: str
    clients: int
    stream: bool = False

    @property
    def name(self) -> str:
        return f"{'stream ' if self.stream else ''}{self.behaviour} × {self.clients}"


def measure(bench: Bench, system: System, plan: Plan, *, cell: str, number: int, cores: int) -> Sample:
    """Carry the plan out and account for it."""
    roots = {
        **system.roots(),
        "provider": [bench.provider.pid],
        "clients": [bench.load.pid],
    }
    statements = system.statements()
    busy_ms, before, began = procfs.machine_busy_ms(), procfs.cpu_ms(roots), time.monotonic()
    outcome = bench.load.run(plan)
    after, wall_ms = procfs.cpu_ms(roots), (time.monotonic() - began) * 1000
    elsewhere_ms = procfs.machine_busy_ms() - busy_ms - sum(after.values()) + sum(before.values())
    calls = len(outcome.latencies_ms)
    statements_after = system.statements()
    return Sample(
        system=system.name,
        cell=cell,
        round=number,
        clients=plan.clients,
        calls=calls,
        errors=outcome.errors,
        elapsed_s=outcome.elapsed_s,
        calls_per_s=calls / outcome.elapsed_s,
        p50_ms=quantile(outcome.latencies_ms, 0.5),
        p99_ms=quantile(outcome.latencies_ms, 0.99),
        cpu_ms_per_call={name: (after[name] - before[name]) / max(calls, 1) for name in roots},
        elsewhere_share=max(0.0, elsewhere_ms / wall_ms / cores),
        statements_per_call=None
        if statements is None or statements_after is None
        else (statements_after - statements) / max(calls, 1),
        first_ms=_quantiles(outcome.first_ms),
        lag_ms=_quantiles(outcome.lags_ms),
        tokens=len(outcome.lags_ms),
    )


def _quantiles(values: list[float]) -> dict[str, float]:
    return {"p50": quantile(values, 0.5), "p99": quantile(values, 0.99)} if values else {}


def warm_up(bench: Bench, target: Target, clients: int, duration_s: float = 0.3) -> Outcome:
    """Connections opened, statements prepared, code paths loaded."""
    return bench.load.run(Plan(target, clients, duration_s=duration_s))


@contextmanager
def sampled_memory(system: System) -> Iterator[list[dict[str, procfs.Memory]]]:
    """Look at a system's memory again and again until the block ends."""
    seen: list[dict[str, procfs.Memory]] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(MEMORY_EVERY_S):
            seen.append(procfs.memory(system.roots()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def total(memory: dict[str, procfs.Memory]) -> procfs.Memory:
    """Over all of a system's processes."""
    parts = memory.values()
    return procfs.Memory(
        sum(part.rss_mb for part in parts), sum(part.pss_mb for part in parts), sum(part.processes for part in parts)
    )
