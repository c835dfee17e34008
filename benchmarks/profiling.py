"""`make bench ARGS="--profile llm-call"`: where web and worker spend their CPU time on a request, by function.

py-spy looks at each process some hundred times a second while 64 clients ask. A function's share of the looks at
a process, times the CPU time per request that /proc counts for it, is what the function takes. PostgreSQL's time
goes by statement.
"""

import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.load import Plan, Target
from benchmarks.measure import Sample, measure, warm_up
from benchmarks.report import number, table
from benchmarks.systems.base import Bench
from benchmarks.systems.databases import Statement, since
from benchmarks.systems.ours import Ours

CLIENTS = 64
WINDOW_S = 12
LOOKS_PER_S = 200
#: Above it, a line of the table says little.
LINES = 45
PROCESSES = ("web", "worker")
BEHAVIOUR = "latency-0"
#: What `--profile` takes.
REQUESTS = ("llm-call", "stream", "create", "complete", "create-and-call")
#: At the top of a stack they wait for a lock, which takes no CPU; py-spy takes some of them for busy.
WAITING = ("Condition.wait (threading.py", "_worker (concurrent/futures/thread.py")
#: Below everything, so that they say nothing.
FOUNDATIONS = re.compile(
    r"\((gunicorn|gunicorn/(app|workers)|celery|celery/bin|click|worker/consumer)/"
    r"|\(gunicorn:|celery/(bootsteps|worker/worker|worker/loops)\.py|<frozen runpy>|\(threading\.py"
    r"|(_run_once|run_forever|run_until_complete|Handle\._run) \(asyncio/|create_loop \(kombu/"
)
#: How py-spy names a function: `name (path)`.
FRAME = re.compile(r"(?P<function>.+) \((?P<path>[^()]*)\)$")


@dataclass
class Looks:
    """How often each function was seen: at the top of the stack, and anywhere in it."""

    total: int = 0
    own: Counter[str] = field(default_factory=Counter)
    within: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, folded: Path) -> "Looks":
        """From a line per stack: its functions, and how often it was seen."""
        looks = cls()
        for line in folded.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            functions = [_short(frame) for frame in stack.split(";") if not frame.startswith(("process ", "thread "))]
            if functions and not functions[-1].startswith(WAITING):
                looks.total += int(count)
                looks.own[functions[-1]] += int(count)
                looks.within.update(dict.fromkeys(functions, int(count)))
        return looks


def _short(frame: str) -> str:
    """The function with its module's last parts."""
    if not (match := FRAME.match(frame)):
        return frame
    return f"{match['function']} ({'/'.join(Path(match['path']).parts[-3:])})"


def _telling(counts: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent functions, without those that all others stand on."""
    return [(name, count) for name, count in counts.most_common() if not FOUNDATIONS.search(name)][:LINES]


def target_of(ours: Ours, request: str) -> Target:
    """What is asked again and again. `complete` wants a job for each."""
    if request == "create":
        return ours.create_target()
    if request == "complete":
        return ours.complete_target(ours.open_jobs(WINDOW_S * 300))
    if request == "create-and-call":
        return ours.create_and_call_target(BEHAVIOUR)
    return ours.target(BEHAVIOUR, clients=CLIENTS, stream=request == "stream")


@contextmanager
def watched(pids: dict[str, int], folder: Path) -> Iterator[dict[str, Path]]:
    """py-spy on each process until the block ends; what it saw is in the files then."""
    files = {name: folder / f"{name}.folded" for name in pids}
    program = str(Path(sys.executable).parent / "py-spy")
    options = ["record", "--subprocesses", "--function", "--format", "raw", "--rate", str(LOOKS_PER_S)]
    watchers = [
        subprocess.Popen(
            [program, *options, "--duration", "unlimited", "--output", str(files[name]), "--pid", str(pid)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, pid in pids.items()
    ]
    try:
        yield files
    finally:
        for watcher in watchers:
            watcher.send_signal(signal.SIGINT)
        for watcher in watchers:
            watcher.wait(30)


def carry_out(bench: Bench, request: str, results: Path, *, cores: int) -> Path:
    """Start our processes, ask, watch, and write it down; the path of what was written."""
    ours = Ours(bench)
    ours.start([BEHAVIOUR])
    if request != "complete":
        warm_up(bench, target_of(ours, request), CLIENTS, 3)
    target = target_of(ours, request)
    plan = Plan(target, CLIENTS, duration_s=None if request == "complete" else WINDOW_S)
    # Without anybody who watches, for the figures; then again, for the shares.
    before = ours.database.by_statement()
    sample = measure(bench, ours, plan, cell=request, number=1, cores=cores)
    statements = since(before, ours.database.by_statement())
    if request == "complete":
        plan = Plan(target_of(ours, request), CLIENTS)
    roots = ours.roots()
    with watched({name: next(iter(roots[name])) for name in PROCESSES}, bench.folder) as files:
        bench.load.run(plan)
    name = f"profile-{datetime.now(UTC):%Y-%m-%dT%H%M}-{request}"
    results.mkdir(exist_ok=True)
    for process, file in files.items():
        file.rename(results / f"{name}-{process}.folded")
    looks = {process: Looks.read(results / f"{name}-{process}.folded") for process in files}
    path = results / f"{name}.md"
    path.write_text(_written(request, sample, looks, statements))
    return path


def _written(request: str, sample: Sample, looks: dict[str, Looks], statements: list[Statement]) -> str:
    by_process = ", ".join(f"{name} {number(ms)}" for name, ms in sample.cpu_ms_per_call.items())
    parts = [
        f"# CPU of `{request}` at {CLIENTS} clients",
        (
            f"{sample.calls:,} requests, {sample.calls_per_s:.0f} each second, {sum(sample.errors.values())} failed; "
            f"elsewhere {sample.elsewhere_share:.0%} of the machine.\nCPU ms each: {by_process}."
        ),
    ]
    parts.append(_trust(sample, looks))
    for process, seen in looks.items():
        ms = sample.cpu_ms_per_call[process] / max(seen.total, 1)
        for title, counts in (("itself", seen.own), ("with all that it calls", seen.within)):
            rows = [
                [f"`{function}`", f"{count * ms:.3f}", f"{count / seen.total:.1%}"]
                for function, count in _telling(counts)
            ]
            parts += [f"## {process}: functions, each {title}", table(["function", "ms per request", "share"], rows)]
    calls = max(sample.calls, 1)
    rows = [
        [
            f"`{one.text}`",
            f"{one.calls / calls:.2f}",
            f"{one.total_ms / calls:.3f}",
        ]
        for one in sorted(statements, key=lambda one: -one.total_ms)
        if one.calls / calls >= 0.005
    ]
    parts += [
        "## PostgreSQL: statements",
        table(["statement", "per request", "ms per request, waiting included"], rows),
    ]
    return "\n\n".join(parts) + "\n"


def _trust(sample: Sample, looks: dict[str, Looks]) -> str:
    """A thread that waits for a core looks busy, too: how much of what was seen is that."""
    pairs = [
        f"{process} {number(seen.total / LOOKS_PER_S)} s and {number(ms * sample.calls / 1000)} s"
        for process, seen in looks.items()
        for ms in [sample.cpu_ms_per_call[process]]
    ]
    return (
        f"Seen busy and really busy: {', '.join(pairs)}. Where the first is much more, threads waited for a core:\n"
        "then whatever comes after a wait (select, send, recv) looks dearer than it is. Try again on a quieter machine."
    )
