"""The whole service as the processes of the Procfile, against a database and a Redis of its own.

    with running_stack(folder, database_url=url) as stack:
        stack.start("web", "worker", "maintenance", "beat")
        stack.kill("worker")

Each process logs to `folder`; whatever does not happen in time says so with the end of that log. Nothing
outlives the test run, not even a killed one: each process is its own group, and dies with its parent.
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
from honcho.environ import parse_procfile
from psycopg.rows import dict_row

from scripts.embedded import _redis_binary
from scripts.processes import free_port, spawn, stop, tail

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60
#: As the Procfile has them. Any further process ("web-2", "worker-2") is the first one's command; web on another port.
COMMANDS: dict[str, str] = parse_procfile((ROOT / "Procfile").read_text()).processes

T = TypeVar("T")


class StackError(AssertionError):
    """Something did not happen; the text has the end of the log."""


def eventually(look: Callable[[], T], what: str, *, within_s: float, log: Path | None = None) -> T:
    """Look until there is something true to see, and return it. Raises StackError."""
    deadline = time.monotonic() + within_s
    while True:
        if seen := look():
            return seen
        if time.monotonic() > deadline:
            raise StackError(f"not within {within_s:g} s: {what}" + (f"\n{log}:\n{tail(log)}" if log else ""))
        time.sleep(0.02)


# --- Databases ----------------------------------------------------------------------------------------------


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@contextmanager
def fresh_database(server_url: str, *, template: str = "template1") -> Iterator[str]:
    """The URL of a new database on the server, dropped at the end."""
    name = f"live_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield with_database(server_url, name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def clean_environment(**changes: str) -> dict[str, str]:
    """Ours, without what would reach the processes by accident, in strict mode."""
    # Without bytecode a worker would take eight seconds to start, not three.
    unwanted = ("DJANGO_", "PYTEST_", "PYTHONDONTWRITEBYTECODE", "MAKE_RUN", "OPENAI_", "LITELLM_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(unwanted) and not name.lower().endswith("_proxy")
    }
    folder = str(Path(sys.executable).parent)
    return kept | {
        "PATH": f"{folder}{os.pathsep}{kept.get('PATH', os.defpath)}",
        "DJANGO_DEBUG": "1",
        "AUTH_MODE": "strict",
        "PRIVATE_API_BASES": "127.0.0.1",
        "PRIVATE_WEBHOOK_HOSTS": "127.0.0.1",
        "WEB_CONCURRENCY": "1",
        **changes,
    }


def manage(environment: dict[str, str], *arguments: str) -> str:
    """What a management command says. Raises StackError."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        raise StackError(f"manage.py {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout.strip()


# --- Processes ----------------------------------------------------------------------------------------------


@dataclass
class Child:
    """A running process of the stack."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int | None = None


@dataclass
class Stack:
    """Processes by name, and the ways to look at them."""

    folder: Path
    database_url: str
    environment: dict[str, str]
    redis_port: int = field(default_factory=free_port)
    redis_password: str = field(default_factory=lambda: uuid.uuid4().hex)
    children: dict[str, Child] = field(default_factory=dict)
    closing: ExitStack = field(default_factory=ExitStack)

    @property
    def redis_url(self) -> str:
        return f"redis://:{self.redis_password}@127.0.0.1:{self.redis_port}/0"

    # Life

    def start(self, *names: str, **environment: str) -> None:
        """Start these processes, and wait until all of them are ready."""
        since = self.query("SELECT now() AS now")[0]["now"]
        for name in names:
            self._spawn(name, environment)
        for name in names:
            self._wait_until_ready(name, since)

    def ensure(self, *names: str) -> None:
        """Start those of them that do not run."""
        missing = [name for name in names if name not in self.children]
        if missing:
            self.start(*missing)

    def _spawn(self, name: str, environment: dict[str, str]) -> None:
        if name in self.children:
            raise StackError(f"{name} runs already")
        port = self.redis_port if name == "redis" else free_port() if name.partition("-")[0] == "web" else None
        log = self.folder / f"{name}.log"
        log.touch()
        if name == "redis":
            process = spawn(
                [_redis_binary(), "-"],
                log=log,
                stop_signal=signal.SIGTERM,
                cwd=self.folder,
                env=dict(os.environ),
                stdin=f'bind 127.0.0.1\nport {port}\nrequirepass {self.redis_password}\nsave ""\nappendonly no\n',
            )
        else:
            process = spawn(
                ["/bin/sh", "-c", COMMANDS[name.partition("-")[0]]],
                log=log,
                stop_signal=signal.SIGTERM,
                cwd=ROOT,
                env={**self.environment, "REDIS_URL": self.redis_url, "PORT": str(port or ""), **environment},
            )
        self.children[name] = Child(process, log, port)

    def _wait_until_ready(self, name: str, since: Any) -> None:
        child = self.children[name]
        readiness: dict[str, Callable[[], bool]] = {
            "redis": self._redis_answers,
            "worker": lambda: bool(
                self.query("SELECT 1 FROM jobs_callprocess WHERE name LIKE 'worker%%' AND started_at >= %s", since)
            ),
            "maintenance": lambda: " ready." in child.log.read_text(),
            "webhooks": lambda: " ready." in child.log.read_text(),
            "beat": lambda: "beat: Starting" in child.log.read_text(),
        }
        is_ready = readiness.get(name.partition("-")[0], lambda: self._is_healthy(name))

        def look() -> bool:
            if child.process.poll() is not None:
                raise StackError(f"{name} ended at its start:\n{tail(child.log)}")
            return is_ready()

        eventually(look, f"{name} is ready", within_s=START_TIMEOUT_S, log=child.log)

    def _is_healthy(self, name: str) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url(name)}/health", trust_env=False, timeout=5).status_code == 200
        return False

    def _redis_answers(self) -> bool:
        with suppress(Exception):
            self.redis_command("PING")
            return True
        return False

    def kill(self, name: str) -> None:
        """As kill -9 does, with all that it has started."""
        child = self.children.pop(name)
        kill_group(child.process)

    def stop(self, name: str) -> None:
        """Politely, then not."""
        child = self.children.pop(name)
        stop(child.process, signal.SIGTERM, patience_s=10)
        kill_group(child.process)

    def close(self) -> None:
        """Stop everything, Redis last: the others speak to it to their end."""
        self.closing.close()
        names = sorted(self.children, key="redis".__eq__)
        for name in names:
            if name != "redis":
                self.children[name].process.send_signal(signal.SIGTERM)
        for name in names:
            self.stop(name)

    # Looking

    def url(self, web: str = "web") -> str:
        return f"http://127.0.0.1:{self.children[web].port}"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def query(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """Rows straight from the database."""
        with psycopg.connect(self.database_url, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def redis_command(self, *words: str) -> Any:
        import redis

        with redis.Redis.from_url(self.redis_url, socket_timeout=2) as client:
            return client.execute_command(*words)

    def client(self, key: str | None = None, *, web: str = "web", timeout_s: float = 30) -> httpx.Client:
        """An HTTP client that is closed with the stack."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        client = httpx.Client(base_url=self.url(web), headers=headers, trust_env=False, timeout=timeout_s)
        return self.closing.enter_context(client)

    def manage(self, *arguments: str) -> str:
        return manage({**self.environment, "REDIS_URL": self.redis_url}, *arguments)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Of what scripts.processes.spawn has started, with all that is left of its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


@contextmanager
def running_stack(folder: Path, *, database_url: str, **environment: str) -> Iterator[Stack]:
    """A stack of which only Redis runs yet; all of it ends with the block."""
    settings = clean_environment(DATABASE_URL=database_url, **environment)
    stack = Stack(folder, database_url, settings)
    try:
        stack.start("redis")
        yield stack
    finally:
        stack.close()


# --- The fake provider --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FakeProvider:
    """tests.support.fake_provider, running."""

    port: int
    log: Path
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def requests(self, name: str) -> int:
        """How many came under this path."""
        return self._ask("GET", "_counts").get(name, 0)

    def gone(self, name: str) -> int:
        """How many clients left before a streamed body's end."""
        return self._ask("GET", "_gone").get(name, 0)

    def wait_for(self, name: str, count: int = 1) -> None:
        eventually(lambda: self.requests(name) >= count, f"{count} request(s) of {name}", within_s=15, log=self.log)

    def release(self, name: str) -> None:
        """Let what is held answer."""
        self._ask("POST", f"_release/{name}")

    def _ask(self, method: str, path: str) -> Any:
        return json.loads(httpx.request(method, f"{self.url}/{path}", trust_env=False, timeout=5).content)


@contextmanager
def fake_provider(folder: Path, module: str = "tests.support.fake_provider") -> Iterator[FakeProvider]:
    """This one, or another with the same command line."""
    port, log = free_port(), folder / "provider.log"
    log.write_text("")
    process = spawn(
        [sys.executable, "-m", module, "--port", str(port)],
        log=log,
        stop_signal=signal.SIGTERM,
        cwd=ROOT,
        env=clean_environment(),
    )
    try:
        eventually(lambda: "listening" in log.read_text(), "the provider listens", within_s=15, log=log)
        yield FakeProvider(port, log, process.pid)
    finally:
        stop(process, signal.SIGTERM, patience_s=5)
