"""What was found, as Markdown for people and JSON for later comparisons."""

import json
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import procfs
from benchmarks.measure import HARNESS, Sample, total
from benchmarks.plot import bars
from benchmarks.rounds import FIRST_TOKEN, Results, Scale
from benchmarks.systems.base import System
from tests.support.stack import ROOT

OURS, DOOR, DIRECT = "ours", "ours-v1", "direct"
#: A call by /v1 is compared with these: they do what it does, and little else.
DOORS_PEERS = ("litellm-keys", "litellm-bare")
#: Rounds that lost more than this of the machine to others are not worth much.
LOUD_SHARE = 0.1
#: Columns of tables that hold words.
TEXTS = {"what it does per call", "its processes", "of which", "answered", "reached"}


@dataclass(frozen=True)
class Report:
    """The results of one run, and medians over its rounds."""

    results: Results
    systems: Sequence[System]
    scale: Scale
    cores: int
    began: datetime

    def of(self, system: str, cell: str) -> list[Sample]:
        return [sample for sample in self.results.samples if sample.system == system and sample.cell == cell]

    def median(self, system: str, cell: str, what: Callable[[Sample], float]) -> float | None:
        """Over the rounds; None where nothing was answered."""
        values = [what(sample) for sample in self.of(system, cell) if sample.calls]
        return statistics.median(values) if values else None

    def added(self, system: str, cell: str, what: Callable[[Sample], float]) -> float | None:
        """What the system adds to the provider, round by round: the median of the differences."""
        direct = {sample.round: what(sample) for sample in self.of(DIRECT, cell)}
        differences = [
            what(sample) - direct[sample.round]
            for sample in self.of(system, cell)
            if sample.calls and sample.round in direct
        ]
        return statistics.median(differences) if differences else None

    @property
    def names(self) -> list[str]:
        return [system.name for system in self.systems if system.name != DIRECT]

    @property
    def peers(self) -> list[str]:
        return [name for name in self.names if name not in (OURS, DOOR)]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Whom to compare with whom: ours, peer."""
        doors = [(DOOR, peer) for peer in self.peers if peer in DOORS_PEERS and DOOR in self.names]
        return [(OURS, peer) for peer in self.peers] + doors


# --- Cells of tables ----------------------------------------------------------------------------------------


def number(value: float | None) -> str:
    """Three digits that mean something."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def ratio(ours: float | None, peer: float | None) -> str:
    """Ours by the peer's; a difference that noise has made negative has none."""
    return f"{ours / peer:.2f}" if ours is not None and peer is not None and peer > 0 else "–"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """The first column and texts to the left, figures to the right."""
    head = list(head)
    lefts = [number == 0 or name in TEXTS for number, name in enumerate(head)]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' if left else '---:' for left in lefts)} |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


# --- Sections -----------------------------------------------------------------------------------------------


def machine(report: Report) -> str:
    """Where, when, and what of."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    systems = table(
        ["system", "what it does per call", "its processes"],
        ([system.name, system.title, system.processes or "none"] for system in report.systems),
    )
    shares = [sample.elsewhere_share for sample in report.results.samples]
    loud = sum(share > LOUD_SHARE for share in shares)
    lines = [
        f"# Benchmark of {report.began:%Y-%m-%d %H:%M} UTC",
        "",
        f"Commit {commit or 'unknown'}; Python {platform.python_version()}, {platform.system()} {platform.release()};",
        f"{procfs.processor()}, {procfs.memory_total_gb():.0f} GB.",
        f"All processes, the provider, the clients and all databases included, share {report.cores} cores.",
        f"{report.scale.rounds} rounds of {report.scale.window_s:g} s per cell, all systems taking turns at each cell;",
        "figures are medians over the rounds.",
        "While a system was measured, processes that were neither it nor the benchmark took",
        f"{statistics.median(shares):.0%} of the machine (median; above {LOUD_SHARE:.0%} in {loud} of {len(shares)}",
        "measurements). How to read this: [benchmarks/README.md](../README.md).",
        "",
        systems,
    ]
    return "\n".join(lines)


def throughput(report: Report) -> str:
    """Calls per second, and how many of a peer's ours are."""
    cells = [cell.name for cell in (*report.scale.cells, *report.scale.crowds)]
    systems = [*report.names, DIRECT]
    rates = {
        (system, cell): report.median(system, cell, lambda sample: sample.calls_per_s)
        for system in systems
        for cell in cells
    }
    head = ["provider × clients", *systems, *(f"{ours} / {peer}" for ours, peer in report.pairs)]
    rows = (
        [
            cell,
            *(number(rates[system, cell]) + _failed(report, system, cell) for system in systems),
            *(ratio(rates.get((ours, cell)), rates[peer, cell]) for ours, peer in report.pairs),
        ]
        for cell in cells
    )
    return f"## Calls per second\n\n{table(head, rows)}"


def _failed(report: Report, system: str, cell: str) -> str:
    failed = sum(sum(sample.errors.values()) for sample in report.of(system, cell))
    return f" ({failed} failed)" if failed else ""


def latency(report: Report) -> str:
    """Added milliseconds: the system's quantile less the provider's own."""
    parts = ["## Added latency, ms"]
    quantiles: dict[str, Callable[[Sample], float]] = {
        "p50": lambda sample: sample.p50_ms,
        "p99": lambda sample: sample.p99_ms,
    }
    for name, what in quantiles.items():
        cells = [cell.name for cell in (*report.scale.cells, *report.scale.crowds)]
        added = {(system, cell): report.added(system, cell, what) for system in report.names for cell in cells}
        pairs = [f"{ours} / {peer}" for ours, peer in report.pairs]
        head = [f"{name}, provider × clients", *report.names, *pairs]
        rows = (
            [
                cell,
                *(number(added[system, cell]) for system in report.names),
                *(ratio(added.get((ours, cell)), added[peer, cell]) for ours, peer in report.pairs),
            ]
            for cell in cells
        )
        parts.append(table(head, rows))
    return "\n\n".join(parts)


def cpu(report: Report) -> str:
    """By process."""
    busiest = max((cell for cell in report.scale.cells if cell.behaviour == "latency-0"), key=lambda one: one.clients)
    rows = []
    for system in report.names:
        samples = report.of(system, busiest.name)
        processes = [name for name in (samples[0].cpu_ms_per_call if samples else {}) if name not in HARNESS]
        by_process = {name: statistics.median(sample.cpu_ms_per_call[name] for sample in samples) for name in processes}
        harness = statistics.median(sum(sample.cpu_ms_per_call[name] for name in HARNESS) for sample in samples)
        statements = [one.statements_per_call for one in samples if one.statements_per_call is not None]
        idle = report.results.idle[system]
        memory = total(idle["memory"])
        rows.append(
            [
                system,
                number(sum(by_process.values())),
                ", ".join(f"{name} {number(ms)}" for name, ms in by_process.items()),
                number(harness),
                number(statistics.median(statements) if statements else None),
                number(sum(idle["cpu_ms_per_s"].values())),
                number(memory.rss_mb),
                number(memory.pss_mb),
                str(memory.processes),
            ]
        )
    head = [
        "system",
        "CPU ms per call",
        "of which",
        "benchmark's own",
        "SQL per call",
        "idle, CPU ms/s",
        "RSS MB",
        "PSS MB",
    ]
    return f"## What a call takes ({busiest.name})\n\n{table([*head, 'processes'], rows)}"


def streams(report: Report) -> str:
    """First token, and keeping pace."""
    first, pace = FIRST_TOKEN.name, report.scale.pace.name
    rows = []
    for system in [*report.names, DIRECT]:
        slowest = report.median(system, pace, lambda sample: sample.elapsed_s)
        rows.append(
            [
                system,
                number(report.added(system, first, lambda sample: sample.first_ms.get("p50", 0))),
                number(report.added(system, first, lambda sample: sample.first_ms.get("p99", 0))),
                number(report.median(system, pace, lambda sample: sample.lag_ms.get("p50", 0))),
                number(report.median(system, pace, lambda sample: sample.lag_ms.get("p99", 0))),
                number(report.median(system, pace, lambda sample: sample.tokens)),
                number(slowest) + _failed(report, system, pace),
            ]
        )
    head = ["system", "first token added p50, ms", "p99", "lag of a token p50, ms", "p99", "tokens", "all ended, s"]
    return f"## Streaming ({first}; {pace})\n\n{table(head, rows)}"


def in_flight(report: Report) -> str:
    """Many slow calls at once."""
    rows = []
    for system, found in report.results.in_flight.items():
        sizes = [total(found[f"memory_{when}"]) for when in ("before", "peak", "after")]
        rows.append(
            [
                system,
                f"{found['answered']} of {found['calls']}",
                number(found["all_answered_s"]),
                str(sum(found["errors"].values())),
                *(number(size.pss_mb if size.processes else None) for size in sizes),
                number(sizes[1].rss_mb if sizes[1].processes else None),
            ]
        )
    head = ["system", "answered", "within s", "errors", "PSS before, MB", "at most", "after", "RSS at most"]
    return f"## {report.scale.calls_in_flight} calls of 5 s at once\n\n{table(head, rows)}"


def operations(report: Report) -> str:
    """What only we have."""
    cells = sorted(
        {one.cell for one in report.results.samples if one.cell.startswith(("create", "complete"))},
        key=lambda name: (name.partition(" ×")[0], int(name.rpartition(" ")[2])),
    )
    rows = []
    for cell in cells:
        samples = report.of(OURS, cell)
        processes = [name for name in samples[0].cpu_ms_per_call if name not in HARNESS]
        rows.append(
            [
                cell + _failed(report, OURS, cell),
                number(report.median(OURS, cell, lambda sample: sample.calls_per_s)),
                number(report.median(OURS, cell, lambda sample: sample.p50_ms)),
                number(report.median(OURS, cell, lambda sample: sample.p99_ms)),
                number(report.median(OURS, cell, lambda sample: sample.system_cpu_ms)),
                ", ".join(
                    f"{name} {number(statistics.median(sample.cpu_ms_per_call[name] for sample in samples))}"
                    for name in processes
                ),
                number(report.median(OURS, cell, lambda sample: sample.statements_per_call or 0)),
            ]
        )
    head = ["request × clients", "per second", "p50, ms", "p99, ms", "CPU ms each", "of which", "SQL each"]
    return f"## Our other requests\n\n{table(head, rows)}"


def targets(report: Report) -> str:
    """What we want to reach, and whether we do."""
    few, many, first = "latency-0 × 1", "latency-0 × 64", FIRST_TOKEN.name
    rate = {name: report.median(name, many, lambda sample: sample.calls_per_s) for name in report.names}
    added = {name: report.added(name, few, lambda sample: sample.p50_ms) for name in report.names}
    first_ms = report.added(OURS, first, lambda sample: sample.first_ms["p50"])
    in_flight = report.results.in_flight[OURS]
    all_s = in_flight["all_answered_s"] if in_flight["answered"] == in_flight["calls"] else None
    wanted = [
        ("calls per second at 64 clients / litellm-keys", _divided(rate, "litellm-keys"), "≥", 4.0),
        ("added p50 at 1 client / litellm-keys", _divided(added, "litellm-keys"), "≤", 0.5),
        ("calls per second at 64 clients / litellm-bare", _divided(rate, "litellm-bare"), "≥", 2.0),
        ("added p50 at 1 client / litellm-bare", _divided(added, "litellm-bare"), "≤", 1.0),
        ("/v1: calls per second at 64 clients / litellm-keys", _divided(rate, "litellm-keys", ours=DOOR), "≥", 4.0),
        ("/v1: added p50 at 1 client / litellm-keys", _divided(added, "litellm-keys", ours=DOOR), "≤", 0.5),
        ("first token of a stream, ms added at 1 client", first_ms, "≤", 15.0),
        (f"{in_flight['calls']} calls of 5 s, all answered within s", all_s, "≤", 9.0),
    ]
    rows = [
        [what, f"{sign} {limit:g}", number(found), _verdict(found, sign, limit)] for what, found, sign, limit in wanted
    ]
    return f"## Targets\n\n{table(['ours', 'wanted', 'found', 'reached'], rows)}"


def _divided(values: Mapping[str, float | None], peer: str, *, ours: str = OURS) -> float | None:
    mine, other = values.get(ours), values.get(peer)
    return mine / other if mine is not None and other else None


def _verdict(found: float | None, sign: str, limit: float) -> str:
    if found is None:
        return "not measured"
    return "yes" if (found >= limit if sign == "≥" else found <= limit) else "no"


# --- Files --------------------------------------------------------------------------------------------------


def write(folder: Path, report: Report, *, is_quick: bool) -> Path:
    """The report, its data and its plot, side by side; the report's path."""
    name = f"{report.began:%Y-%m-%dT%H%M}{'-quick' if is_quick else ''}"
    sections = [machine(report), throughput(report), latency(report), cpu(report), streams(report), in_flight(report)]
    if OURS in report.names:
        sections.insert(1, targets(report))
        sections.append(operations(report))
    sections.insert(1, f"![Calls per second and added latency]({name}.svg)")
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.md"
    path.write_text("\n\n".join(sections) + "\n")
    (folder / f"{name}.json").write_text(json.dumps(_data(report), indent=1, default=_plain) + "\n")
    (folder / f"{name}.svg").write_text(plot(report))
    return path


def _data(report: Report) -> dict[str, Any]:
    return {
        "began": report.began.isoformat(),
        "machine": {"processor": procfs.processor(), "cores": report.cores, "python": platform.python_version()},
        "systems": {system.name: {"title": system.title, "processes": system.processes} for system in report.systems},
        "scale": report.scale,
        "idle": report.results.idle,
        "in_flight": report.results.in_flight,
        "samples": report.results.samples,
    }


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{value!r} is no data")


def plot(report: Report) -> str:
    """SVG: what the issue of it all is, in two panels."""
    cells = [cell for cell in report.scale.cells if cell.behaviour == "latency-0"]
    few, many = cells[0].name, cells[-1].name
    rates = {name: report.median(name, many, lambda sample: sample.calls_per_s) for name in report.names}
    added = {name: report.added(name, few, lambda sample: sample.p50_ms) for name in report.names}
    return bars([(f"Calls per second, {many}", rates), (f"Added latency p50 in ms, {few}", added)])


def now() -> datetime:
    """For the report's name."""
    return datetime.now(UTC)
