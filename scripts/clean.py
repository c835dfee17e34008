"""`make clean`: stop what `make run` left running, and remove what `make` made."""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from scripts.embedded import end_left_over, remove_stand_in
from scripts.processes import CannotStart, claimed, end_strays, lock_holder

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"
CACHES = (
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    ".import_linter_cache",
    ".schemathesis",
)
STOP_TIMEOUT_S = 60


def stop_run() -> None:
    """Have a `make run` of this checkout stop in order, and wait for that."""
    if (pid := lock_holder(LOCAL)) is None:
        return
    print(f"Stopping make run (process {pid}) …", flush=True)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while lock_holder(LOCAL) is not None:
        if time.monotonic() > deadline:
            raise CannotStart(f"Process {pid} does not stop")
        time.sleep(0.1)


def remove_clusters() -> None:
    """The databases, also those that lie elsewhere because root started them."""
    for data in LOCAL.rglob("data/postmaster.pid"):
        end_left_over(data.parent)
    for link in LOCAL.rglob("elsewhere"):
        if link.readlink().exists() and os.geteuid() != 0:
            raise CannotStart(f"{link.readlink()} is root's: run make clean as root")
        remove_stand_in(link.parent)


def main() -> int:
    """Stop first: nobody may lose the ground under a running service."""
    try:
        if LOCAL.exists():
            stop_run()
            with claimed(LOCAL):
                end_strays(LOCAL)
                remove_clusters()
                shutil.rmtree(LOCAL)
    except (CannotStart, OSError) as error:
        print(f"✗ {error}", file=sys.stderr)
        return 1
    for name in (".venv", *CACHES):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for cache in list(ROOT.rglob("__pycache__")):
        shutil.rmtree(cache, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
