"""What is measured, and in which order: all systems take turns at each cell, round after round."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks import procfs
from benchmarks.load import Plan, Target
from benchmarks.measure import Cell, Sample, measure, sampled_memory, total, warm_up
from benchmarks.systems.base import Bench, System
from benchmarks.systems.ours import Ours

SLOW = "latency-5000"
IDLE_S = 3.0
#: What takes longer than this is cut off, and counts as failed: nothing that is measured takes a good system as long.
PATIENCE_S = 60


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    rounds: int
    window_s: float
    cells: tuple[Cell, ...]
    #: Measured in one round only: they take long on a slow system.
    crowds: tuple[Cell, ...]
    pace: Cell
    calls_in_flight: int

    @property
    def behaviours(self) -> list[str]:
        cells = (*self.cells, *self.crowds, self.pace, FIRST_TOKEN, Cell(SLOW, 1))
        return sorted({cell.behaviour for cell in cells})


FIRST_TOKEN = Cell("latency-0", 1, stream=True)
QUICK = Scale(
    rounds=2,
    window_s=2,
    cells=(Cell("latency-0", 1), Cell("latency-0", 64), Cell("latency-50", 64)),
    crowds=(),
    pace=Cell("tokens-100-at-50", 100, stream=True),
    calls_in_flight=1000,
)
FULL = Scale(
    rounds=3,
    window_s=2.5,
    cells=(
        Cell("latency-0", 1),
        Cell("latency-0", 16),
        Cell("latency-0", 64),
        Cell("latency-50", 1),
        Cell("latency-50", 64),
        Cell("latency-1000", 64),
    ),
    crowds=(Cell("latency-0", 1000), Cell("latency-50", 1000), Cell("latency-1000", 1000)),
    pace=Cell("tokens-150-at-50", 100, stream=True),
    calls_in_flight=1000,
)


@dataclass
class Results:
    """All that was found."""

    samples: list[Sample] = field(default_factory=list)
    #: By system: CPU in ms per second while nobody asks for anything, and memory after the first warm-up.
    idle: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: By system: many slow calls at once.
    in_flight: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Rounds:
    """Carries all of it out."""

    bench: Bench
    systems: Sequence[System]
    scale: Scale
    cores: int
    say: Callable[[str], None]
    results: Results = field(default_factory=Results)

    def carry_out(self) -> Results:
        self._idle()
        for number in range(1, self.scale.rounds + 1):
            crowds = self.scale.crowds if number == self.scale.rounds else ()
            for cell in (*self.scale.cells, *crowds, FIRST_TOKEN, self.scale.pace):
                for system in self._in_turn(number):
                    self._measure(system, cell, number)
            for system in self._in_turn(number):
                if isinstance(system, Ours):
                    self._operations(system, number)
        for system in self.systems:
            self._in_flight(system)
        return self.results

    def _in_turn(self, number: int) -> list[System]:
        """Whoever was first comes last in the next round: no system always follows the same other one."""
        shift = (number - 1) % len(self.systems)
        return [*self.systems[shift:], *self.systems[:shift]]

    def _idle(self) -> None:
        for system in self.systems:
            warm_up(self.bench, system.target("latency-0", clients=16), 16, 2.0)
        before = {system.name: procfs.cpu_ms(system.roots()) for system in self.systems}
        time.sleep(IDLE_S)
        for system in self.systems:
            after = procfs.cpu_ms(system.roots())
            used = {name: (after[name] - ms) / IDLE_S for name, ms in before[system.name].items()}
            self.results.idle[system.name] = {
                "cpu_ms_per_s": used,
                "memory": procfs.memory(system.roots()),
            }

    def _plan(self, system: System, cell: Cell, target: Target) -> Plan:
        if cell == self.scale.pace:
            return Plan(target, cell.clients, requests=cell.clients, timeout_s=PATIENCE_S)
        if cell not in self.scale.crowds:
            return Plan(target, cell.clients, duration_s=self.scale.window_s, timeout_s=PATIENCE_S)
        # One call of each client at least, and as many as fit into the window. A window that just closes would
        # leave a slow system with a queue that it works off while the next one is being measured.
        rates = [sample.calls_per_s for sample in self.results.samples if sample.system == system.name]
        count = int(max(cell.clients, max(rates, default=0) * self.scale.window_s))
        return Plan(target, cell.clients, requests=count, timeout_s=PATIENCE_S)

    def _measure(self, system: System, cell: Cell, number: int) -> None:
        target = system.target(cell.behaviour, clients=cell.clients, stream=cell.stream)
        if cell.behaviour.startswith("latency-") and cell not in self.scale.crowds:
            warm_up(self.bench, target, cell.clients)
        self._record(system, self._plan(system, cell, target), cell.name, number)

    def _record(self, system: System, plan: Plan, cell: str, number: int) -> Sample:
        sample = measure(self.bench, system, plan, cell=cell, number=number, cores=self.cores)
        self.results.samples.append(sample)
        self.say(
            f"  {number}  {cell:32} {system.name:18} {sample.calls_per_s:8.1f}/s  p50 {sample.p50_ms:8.2f} ms"
            f"  p99 {sample.p99_ms:8.2f}  cpu {sample.system_cpu_ms:6.2f} ms"
            + (f"  ERRORS {sample.errors}" if sample.errors else "")
        )
        return sample

    def _operations(self, ours: Ours, number: int) -> None:
        """What else a customer of ours does; the peers have nothing to compare it with."""
        window_s = self.scale.window_s
        for clients in (1, 16, 64):
            self._record(ours, Plan(ours.create_target(), clients, duration_s=window_s), f"create × {clients}", number)
            count = 100 if clients == 1 else int(300 * window_s)
            jobs = ours.open_jobs(count)
            self._record(ours, Plan(ours.complete_target(jobs), clients), f"complete × {clients}", number)
            both = ours.create_and_call_target("latency-0")
            self._record(ours, Plan(both, clients, duration_s=window_s), f"create-and-call × {clients}", number)

    def _in_flight(self, system: System) -> None:
        """A thousand calls of five seconds, all at once."""
        count = self.scale.calls_in_flight
        plan = Plan(system.target(SLOW, clients=count), count, requests=count, timeout_s=PATIENCE_S)
        before = procfs.memory(system.roots())
        with sampled_memory(system) as seen:
            outcome = self.bench.load.run(plan)
        after = procfs.memory(system.roots())
        peak = max(seen, key=lambda memory: total(memory).pss_mb)
        self.results.in_flight[system.name] = {
            "calls": count,
            "answered": len(outcome.latencies_ms),
            "errors": outcome.errors,
            "all_answered_s": outcome.elapsed_s,
            "memory_before": before,
            "memory_peak": peak,
            "memory_after": after,
        }
        self.say(
            f"  {count} calls of 5 s  {system.name:18} {outcome.elapsed_s:6.2f} s  {outcome.errors or 'no error'}"
            f"  PSS {total(before).pss_mb:.0f} → {total(peak).pss_mb:.0f} → {total(after).pss_mb:.0f} MB"
        )
