"""Child processes that never outlive us, folders that are ours alone, and the ends of logs."""

import ctypes
import fcntl
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

LOCK = "lock"
#: The environment variable that marks the service's processes with the folder of the run they belong to.
RUN_MARK = "MAKE_RUN"
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class CannotStart(Exception):
    """Something did not come up; the text is for the person at the terminal."""


@dataclass(frozen=True)
class Account:
    """Whom a process runs as; by default, as us."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def named(cls, *names: str) -> "Account":
        """The first of these users that the machine has."""
        for name in names:
            with suppress(KeyError):
                entry = pwd.getpwnam(name)
                return cls(entry.pw_uid, entry.pw_gid)
        raise CannotStart(f"There is no user {' or '.join(names)} on this machine to run a server as")

    @property
    def groups(self) -> list[int] | None:
        """No supplementary groups but our own."""
        return None if self.uid is None else []


def spawn(
    command: list[str],
    *,
    log: Path,
    stop_signal: int,
    cwd: Path,
    env: Mapping[str, str],
    account: Account = Account(),
    stdin: str = "",
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own: Ctrl-C is for us, and we stop it once its users are gone.

    Where the kernel can (Linux), it sends `stop_signal` should we die without that, even by kill -9.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            start_new_session=True,
            user=account.uid,
            group=account.gid,
            extra_groups=account.groups,
            # Between fork and exec, and after the change of user, which would undo it, there is no other way. With
            # threads it would be unsafe to do more than call the kernel here: so it does no more.
            preexec_fn=partial(LIBC.prctl, PR_SET_PDEATHSIG, stop_signal) if LIBC else None,  # noqa: PLW1509 - see above
        )
    if process.stdin:
        with suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(stdin.encode())
    return process


def stop(process: subprocess.Popen[bytes], *signals: int, patience_s: float = 30) -> None:
    """Ask with each signal in turn, and wait after each; then insist."""
    for number in (*signals, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], timeout_s: float = 60, pause_s: float = 0.02
) -> bool:
    """Whether it is ready: False when the process has ended first, or the time is up."""
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline:
        if ready():
            return True
        time.sleep(pause_s)
    return False


def command_line(pid: int) -> str:
    """What the process was started with; empty when there is none."""
    if sys.platform == "linux":
        with suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    command = ["ps", "-o", "command=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def end_strays(folder: Path) -> None:
    """Kill the marked processes of this folder's run, when those who should have stopped them were killed."""
    deadline = time.monotonic() + 10
    while (strays := _marked(f"{RUN_MARK}={folder}".encode())) and time.monotonic() < deadline:
        for pid in strays:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _marked(mark: bytes) -> list[int]:
    """Processes whose environment holds the mark. Linux shows it; elsewhere there is nothing to see."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # another user's, or gone by now
            if mark in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
    return found


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free now; whoever binds it later must be ready to lose the race."""
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log, for the message that says what went wrong."""
    with suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""


def make_private(folder: Path) -> None:
    """The folder, and those above it that are missing, for our eyes only."""
    if not folder.parent.exists():
        make_private(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def claimed(folder: Path, *, or_another: bool = False) -> Iterator[Path]:
    """A folder for us alone until we end, even by a kill. If it is taken: an error, or one beside it."""
    names = [folder.name, *(f"{folder.name}-{number}" for number in range(2, 100) if or_another)]
    for name in names:
        candidate = folder.with_name(name)
        make_private(candidate)
        with (candidate / LOCK).open("a") as lock:
            if _lock(lock):
                lock.truncate(0)
                lock.write(str(os.getpid()))
                lock.flush()
                yield candidate
                return
    raise CannotStart(f"{folder} is in use by process {lock_holder(folder)}")


def lock_holder(folder: Path) -> int | None:
    """The process that has claimed the folder; none if nobody has."""
    with suppress(FileNotFoundError), (folder / LOCK).open() as lock:
        return None if _lock(lock) else int(lock.read() or 0)
    return None


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
