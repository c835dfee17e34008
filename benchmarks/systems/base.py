"""What the benchmark has to know of a system."""

import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.load import Load, Target
from benchmarks.procfs import Roots
from benchmarks.provider import MARKER
from scripts.processes import spawn, stop, tail, wait_until
from tests.support.stack import FakeProvider, clean_environment, kill_group

MESSAGES = '[{"role": "user", "content": "Analyze this document, and tell what is missing in it."}]'


class NotHere(Exception):
    """A system is not installed; the text says what would be needed."""


@dataclass(frozen=True)
class Bench:
    """What all systems share: the provider, the clients, a folder for logs and data, and the end of it all."""

    folder: Path
    provider: FakeProvider
    load: Load
    exits: ExitStack

    def provider_url(self, behaviour: str) -> str:
        """An `api_base` of the fake provider."""
        return f"http://127.0.0.1:{self.provider.port}/{behaviour}/v1"

    def log(self, name: str) -> Path:
        """Where a process's output goes."""
        return self.folder / f"{name}.log"


class System(ABC):
    """One of the competitors. `start` makes it ready or raises NotHere; the bench's exits stop it."""

    name: str
    #: What it is and does per call, for the report.
    title: str
    #: Its processes, in words.
    processes: str = ""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    @abstractmethod
    def start(self, behaviours: list[str]) -> None:
        """Start it, with a model for each of the provider's behaviours. Raises NotHere."""

    @abstractmethod
    def target(self, behaviour: str, *, clients: int = 1, stream: bool = False) -> Target:
        """A chat completion that the provider answers in this way."""

    def roots(self) -> Roots:
        """Its processes, by what they are."""
        return {}

    def statements(self) -> int | None:
        """How many statements its database has been asked for so far; None if it has none."""
        return None


def start_process(
    bench: Bench,
    name: str,
    command: list[str],
    *,
    port: int,
    ready: str = "/",
    within_s: float = 30,
    env: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """A server that answers on its port; it ends with the bench. Raises NotHere."""
    log = bench.log(name)
    log.write_text("")
    process = spawn(command, log=log, stop_signal=signal.SIGTERM, cwd=bench.folder, env=env or clean_environment())
    bench.exits.callback(kill_group, process)
    bench.exits.callback(stop, process, signal.SIGTERM, patience_s=10)

    def answers() -> bool:
        with suppress(httpx.TransportError):
            url = f"http://127.0.0.1:{port}{ready}"
            return httpx.get(url, trust_env=False, timeout=5).status_code < httpx.codes.INTERNAL_SERVER_ERROR
        return False

    if not wait_until(answers, process, within_s, pause_s=0.2):
        raise NotHere(f"it did not come up:\n{tail(log)}")
    return process


def chat_body(model: str, *, stream: bool) -> str:
    """OpenAI's request."""
    streaming = ', "stream": true, "stream_options": {"include_usage": true}' if stream else ""
    return f'{{"model": "{model}", "messages": {MESSAGES}{streaming}}}'


def expected(*, stream: bool) -> str:
    """What a good answer holds."""
    return "@" if stream else MARKER


class Direct(System):
    """No system at all: what the provider and the clients take by themselves."""

    name = "direct"
    title = "the provider, asked directly"

    def start(self, behaviours: list[str]) -> None:
        """It runs already."""

    def target(self, behaviour: str, *, clients: int = 1, stream: bool = False) -> Target:
        return self.on_port(self.bench.provider.port, behaviour, stream=stream)

    def on_port(self, port: int, behaviour: str, *, stream: bool) -> Target:
        """The provider's own path, whoever listens there."""
        return Target(
            port=port,
            paths=[f"/{behaviour}/v1/chat/completions"],
            body=chat_body("gpt-4o-mini", stream=stream),
            headers={"Authorization": "Bearer sk-provider"},
            expect=expected(stream=stream),
        )
