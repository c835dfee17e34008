"""`make bench`: measure this service and its peers in one run, and write down what was found.

make bench                                       all that is here, 15 to 20 minutes
make bench ARGS="--quick --only ours"            a first look, two minutes
"""

import argparse
import os
import resource
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import console, profiling, report
from benchmarks.load import running_load
from benchmarks.rounds import FULL, QUICK, Rounds
from benchmarks.systems.base import Bench, Direct, NotHere, System
from benchmarks.systems.litellm_proxy import default_script, proxies
from benchmarks.systems.nginx import Nginx
from benchmarks.systems.ours import Ours, OursV1
from benchmarks.systems.portkey import Portkey
from scripts.processes import claimed
from tests.support.stack import ROOT, fake_provider

FOLDER = ROOT / ".local" / "benchmarks"
RESULTS = ROOT / "benchmarks" / "results"
OPEN_FILES = 16_384


def say(text: str) -> None:
    """A line of progress."""
    print(text, flush=True)


def candidates(bench: Bench, options: argparse.Namespace) -> list[System]:
    """All that could be measured."""
    ours = Ours(bench, webs=options.web, workers=options.workers)
    return [
        Direct(bench),
        Nginx(bench),
        ours,
        OursV1(ours),
        *proxies(
            bench, options.litellm_proxy_start, options.litellm_proxy_home, most_workers=1 if options.quick else 2
        ),
        Portkey(bench),
    ]


def started(systems: list[System], behaviours: list[str]) -> list[System]:
    """Those that are here."""
    ready = []
    for system in systems:
        began = time.monotonic()
        try:
            system.start(behaviours)
        except NotHere as reason:
            say(f"- {system.name}: skipped, {reason}")
            continue
        say(f"- {system.name}: {system.title} ({system.processes or 'no process'}), {time.monotonic() - began:.0f} s")
        ready.append(system)
    return ready


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer cells, shorter windows")
    parser.add_argument("--only", nargs="+", metavar="SYSTEM", help="these systems only (the provider always is)")
    parser.add_argument(
        "--profile", choices=profiling.REQUESTS, help="instead: where our processes spend their CPU time on this"
    )
    parser.add_argument(
        "--console", action="store_true", help="instead: how long the console's pages take over a million jobs"
    )
    parser.add_argument(
        "--console-share", type=float, default=1.0, metavar="SHARE", help="of that million (default 1.0)"
    )
    parser.add_argument("--rounds", type=int, help="how often all systems take their turns")
    parser.add_argument("--cores", type=int, default=2, help="cores that everything shares (default 2)")
    parser.add_argument("--web", type=int, default=1, help="our web processes (default 1)")
    parser.add_argument("--workers", type=int, default=1, help="our worker processes (default 1)")
    parser.add_argument(
        "--litellm-proxy-start",
        type=Path,
        default=default_script(ROOT),
        metavar="SCRIPT",
        help="what starts LiteLLM Proxy",
    )
    parser.add_argument(
        "--litellm-proxy-home",
        type=Path,
        default=FOLDER / "litellm-proxy",
        metavar="FOLDER",
        help="where that installs it",
    )
    return parser.parse_args()


def restrict(cores: int) -> int:
    """Let us, and so all that we start, use so many cores only."""
    ours = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, ours)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))
    return len(ours)


def main() -> int:
    options = parse()
    scale = QUICK if options.quick else FULL
    if options.rounds:
        scale = replace(scale, rounds=options.rounds)
    cores = restrict(options.cores)
    if options.console:
        table = console.carry_out(FOLDER / "console", RESULTS, share=options.console_share, say=say)
        say(str(table.relative_to(ROOT)))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    with ExitStack() as exits:
        folder = exits.enter_context(claimed(FOLDER))
        provider = exits.enter_context(fake_provider(folder, "benchmarks.provider"))
        load = exits.enter_context(running_load())
        bench = Bench(folder, provider, load, exits)
        if options.profile:
            say(str(profiling.carry_out(bench, options.profile, RESULTS, cores=cores).relative_to(ROOT)))
            return 0
        wanted = [
            system
            for system in candidates(bench, options)
            if not options.only or system.name in {"direct", *options.only}
        ]
        systems = started(wanted, scale.behaviours)
        began = report.now()
        results = Rounds(bench, systems, scale, cores, say).carry_out()
        found = report.Report(results, systems, scale, cores, began)
        say(f"\n{report.write(RESULTS, found, is_quick=options.quick).relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
