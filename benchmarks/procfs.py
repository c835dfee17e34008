"""What processes take, from /proc: CPU time and memory of each with all that it has started. Linux only."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
KB_PER_MB = 1024
#: Fields of /proc/PID/stat, counted from behind the name in parentheses.
PPID, UTIME, STIME, CUTIME, CSTIME = 1, 11, 12, 13, 14

#: Names of processes with what each stands for: ("web", "postgres"), and the process at the root of each.
Roots = Mapping[str, Iterable[int]]


@dataclass(frozen=True)
class Memory:
    """Of a tree of processes: PSS shares out what they have in common, RSS counts it once each."""

    rss_mb: float
    pss_mb: float
    processes: int


def _stat(pid: int) -> list[str]:
    """Raises OSError when there is no such process."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def trees(roots: Roots) -> dict[str, list[int]]:
    """Each root's processes, itself first."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                children[int(_stat(int(entry.name))[PPID])].append(int(entry.name))
    found: dict[str, list[int]] = {}
    for name, pids in roots.items():
        found[name] = []
        waiting = list(pids)
        while waiting:
            pid = waiting.pop(0)
            found[name].append(pid)
            waiting += children[pid]
    return found


def cpu_ms(roots: Roots) -> dict[str, float]:
    """What each tree has used so far, children that have ended included."""
    used = {}
    for name, pids in trees(roots).items():
        ticks = 0
        for pid in pids:
            with suppress(OSError):
                stat = _stat(pid)
                ticks += sum(int(stat[place]) for place in (UTIME, STIME, CUTIME, CSTIME))
        used[name] = ticks * TICK_MS
    return used


def memory(roots: Roots) -> dict[str, Memory]:
    """What each tree takes now."""
    return {name: _memory(pids) for name, pids in trees(roots).items()}


def _memory(pids: list[int]) -> Memory:
    sizes_kb, count = {"Rss:": 0, "Pss:": 0}, 0
    for pid in pids:
        with suppress(OSError):
            lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
            count += 1
            for line in lines:
                words = line.split()
                if words[0] in sizes_kb:
                    sizes_kb[words[0]] += int(words[1])
    return Memory(sizes_kb["Rss:"] / KB_PER_MB, sizes_kb["Pss:"] / KB_PER_MB, count)


def machine_busy_ms() -> float:
    """CPU time that anybody on this machine has used so far, interrupts and other guests included."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = (
        int(word) for word in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) * TICK_MS


def parent(pid: int) -> int:
    """Raises OSError when there is no such process."""
    return int(_stat(pid)[PPID])


def processor() -> str:
    """Its name, as the kernel has it."""
    for line in (PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def memory_total_gb() -> float:
    """Of the machine."""
    return int((PROC / "meminfo").read_text().split()[1]) / KB_PER_MB / KB_PER_MB
