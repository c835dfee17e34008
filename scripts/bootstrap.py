#!/usr/bin/env python3
"""Create .venv and install a locked requirement set into it: `bootstrap.py local` or `bootstrap.py dev`.

A fresh Debian or Ubuntu has a Python without pip and without ensurepip, so the ways to install are tried one
after the other, down to borrowing pip from Debian's own package, which needs no root. There is only the
standard library to help, and older Pythons must be able to read this file: their one job is to find a newer.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
OLDEST = (3, 11)
NEWEST = (3, 14)


class Unavailable(Exception):
    """This pip is not to be had on this machine; the text says why."""


def say(text: str) -> None:
    """A line of progress."""
    print(f"bootstrap: {text}", flush=True)


def run(command: list[str], env: dict[str, str] | None = None, cwd: Path = ROOT) -> bool:
    """Whether the command succeeded. Its output is the user's progress display, so it is left alone."""
    return subprocess.run(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, check=False).returncode == 0


def works(command: list[str], cwd: Path = ROOT) -> bool:
    """Whether the command exists and succeeds, without showing anything."""
    try:
        subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


# --- The right Python ---------------------------------------------------------------------------------------


def use_a_recent_python() -> None:
    """Start again under a newer Python, if this one is too old and the machine has one."""
    if sys.version_info >= OLDEST:
        return
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        candidate = shutil.which(f"python3.{minor}")
        # A version manager's shim exists for versions that are not active, and fails: so try it.
        if candidate and works([candidate, "-c", "import venv"]):
            os.execv(candidate, [candidate, *sys.argv])  # noqa: S606 - no shell is wanted
    found = ".".join(str(part) for part in sys.version_info[:3])
    sys.exit(f"Python 3.11 or newer is needed: python3 is {found}, and PATH has no python3.11 to python3.14.")


# --- What is installed --------------------------------------------------------------------------------------


def fingerprint(lock: Path) -> str:
    """Changes with the locked requirements and with the checkout's place, which scripts in .venv/bin name."""
    return hashlib.sha256(lock.read_bytes() + str(ROOT).encode()).hexdigest()


def stamp(lock: Path) -> Path:
    """Holds the fingerprint of what is installed."""
    return VENV / f"{lock.stem}.installed"


def is_current(lock: Path) -> bool:
    """Whether nothing is left to do. The import fails when the machine's Python has moved on since."""
    try:
        recorded = stamp(lock).read_text()
    except OSError:
        return False
    return recorded == fingerprint(lock) and works([str(VENV_PYTHON), "-c", "import django"])


def create_venv() -> None:
    """An empty .venv, in place of one that is broken or whose scripts name another place."""
    place = VENV / "place"
    if works([str(VENV_PYTHON), "--version"]) and place.is_file() and place.read_text() == str(ROOT):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    say(f"creating .venv with Python {sys.version.split()[0]} ({sys.executable})")
    ways: list[list[str]] = [
        [sys.executable, "-m", "venv", "--without-pip", str(VENV)],
        ["uv", "venv", "--quiet", "--python", sys.executable, str(VENV)],
        ["virtualenv", "--quiet", "--python", sys.executable, str(VENV)],
    ]
    if not any(works(way) for way in ways):
        sys.exit("Cannot create .venv. On Debian or Ubuntu, as root: apt-get install python3-venv")
    place.write_text(str(ROOT))


# --- Finding a pip ------------------------------------------------------------------------------------------


def own_pip(_: Path) -> list[str]:
    """The pip that comes with Python. Debian leaves it out of python3."""
    pip = [str(VENV_PYTHON), "-m", "pip"]
    if not works([*pip, "--version"]) and not works([str(VENV_PYTHON), "-m", "ensurepip"]):
        raise Unavailable("this Python comes without pip")
    return pip


def machine_pip(_: Path) -> list[str]:
    """A pip installed for the machine's Python, pointed at .venv (pip 22.3 and newer)."""
    for pip in ([sys.executable, "-m", "pip"], ["pip3"], ["pip"]):
        if works([*pip, "--python", str(VENV_PYTHON), "--version"]):
            return [*pip, "--python", str(VENV_PYTHON)]
    raise Unavailable("the machine has none")


def virtualenv_pip(_: Path) -> list[str]:
    """Virtualenv carries a pip of its own."""
    if not works(["virtualenv", "--quiet", "--python", sys.executable, str(VENV)]):
        raise Unavailable("the machine has no virtualenv")
    return [str(VENV_PYTHON), "-m", "pip"]


def debian_pip(scratch: Path) -> list[str]:
    """pip, run out of the wheel in Debian's python3-pip-whl. To fetch and unpack that needs no root."""
    wheels = Path("/usr/share/python-wheels")
    if not list(wheels.glob("pip-*.whl")):
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise Unavailable("this is not Debian or Ubuntu")
        say("fetching pip from Debian's python3-pip-whl (nothing is installed on the machine)")
        wheels = download_debian_wheels(scratch)
    return [str(VENV_PYTHON), f"{max(wheels.glob('pip-*.whl'))}/pip"]


def download_debian_wheels(scratch: Path) -> Path:
    """Unpack python3-pip-whl below `scratch`: apt-get with the machine's sources, and state of its own."""
    for folder in ("lists/partial", "cache/archives/partial", "deb"):
        (scratch / folder).mkdir(parents=True)
    apt = ["apt-get", "-qq", "-oAPT::Sandbox::User=root"]
    private = [
        *apt,
        f"-oDir::State::Lists={scratch}/lists",
        f"-oDir::Cache={scratch}/cache",
        "-oAPT::Update::Post-Invoke=",
        "-oAcquire::Languages=none",
    ]
    deb = scratch / "deb"  # apt-get downloads into the current folder
    download = ["download", "python3-pip-whl"]
    # The machine's own lists will do where they exist and are fresh, and save the update.
    found = works([*apt, *download], cwd=deb) or (run([*private, "update"]) and run([*private, *download], cwd=deb))
    packages = [str(package) for package in deb.glob("*.deb")]
    if not found or not run(["dpkg-deb", "-x", *packages, str(scratch / "unpacked")]):
        raise Unavailable("python3-pip-whl could not be fetched")
    return scratch / "unpacked" / "usr" / "share" / "python-wheels"


PIPS: list[Callable[[Path], list[str]]] = [own_pip, machine_pip, virtualenv_pip, debian_pip]

# --- Installing ---------------------------------------------------------------------------------------------


def pip_setting(pip: list[str], name: str) -> str:
    """A setting of pip's, from its environment or its files; empty where there is none."""
    if value := os.environ.get("PIP_" + name.upper().replace("-", "_")):
        return value
    command = [*pip, "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout if pip else ""
    for line in listed.splitlines():
        key, _, quoted = line.partition("=")
        if key.endswith(f".{name}"):
            return quoted.strip("'\"")
    return ""


def uv_environment(pip: list[str]) -> dict[str, str]:
    """Uv does not read pip's configuration: hand it the index and the certificates."""
    env = dict(os.environ)
    if index := pip_setting(pip, "index-url"):
        env.setdefault("UV_DEFAULT_INDEX", index)
    if cert := pip_setting(pip, "cert"):
        env.setdefault("SSL_CERT_FILE", cert)
    if not os.access(env.get("HOME", "/nonexistent"), os.W_OK):
        env["UV_NO_CACHE"] = "1"
    return env


def uv_from_lock(pip: list[str], scratch: Path) -> list[str]:
    """uv, as locked for development: it installs the rest in a tenth of pip's time. Empty if it fails."""
    block = re.search(r"^uv==.*?(?=^\S|\Z)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE | re.DOTALL)
    uv_only = scratch / "uv.txt"
    uv_only.write_text(block.group() if block else "")
    say("fetching uv, the faster installer")
    if run([*pip, "install", "--quiet", "--require-hashes", "--requirement", str(uv_only)]):
        return [str(VENV / "bin" / "uv")]
    return []


def attempts(scratch: Path) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Every install command worth trying, with its environment: uv first wherever pip can fetch it."""
    into_venv = ["pip", "install", "--python", str(VENV_PYTHON)]
    if installed := shutil.which("uv", path=os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", "")])):
        yield "uv", [installed, *into_venv], uv_environment([])
    for way in PIPS:
        name = way.__name__.replace("_", " ")
        try:
            pip = way(scratch)
        except Unavailable as reason:
            say(f"no {name}: {reason}")
            continue
        if uv := uv_from_lock(pip, scratch):
            yield f"{name}, uv", [*uv, *into_venv], uv_environment(pip)
        yield name, [*pip, "install"], dict(os.environ)


def install(lock: Path) -> None:
    """By the first way that works."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bootstrap-") as folder:
        for name, command, env in attempts(Path(folder)):
            say(f"installing {lock.name} ({name})")
            if run([*command, "--require-hashes", "--requirement", str(lock)], env):
                say(f"done in {time.monotonic() - began:.0f} s")
                return
            say(f"{name} failed")
    sys.exit(
        "Python packages could not be installed. If the network is well (see above): on Debian or Ubuntu, "
        "as root, apt-get install python3-venv; elsewhere install pip or uv."
    )


def main() -> None:
    """Nothing, if .venv is current; that takes a tenth of a second."""
    use_a_recent_python()
    if len(sys.argv) != 2 or sys.argv[1] not in {"local", "dev"}:
        sys.exit("usage: bootstrap.py local|dev")
    lock, local = (ROOT / f"requirements-{name}.txt" for name in (sys.argv[1], "local"))
    if is_current(lock):
        return
    guard = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(guard, fcntl.LOCK_EX)  # `make run` and `make test` may start side by side
    if is_current(lock):
        return
    create_venv()
    install(lock)
    for installed in {lock, local}:  # what development needs includes what a run needs
        stamp(installed).write_text(fingerprint(installed))


if __name__ == "__main__":
    main()
