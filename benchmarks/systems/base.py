"""What the benchmark has to know of a system."""

from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.load import Load, Target
from benchmarks.procfs import Roots
from benchmarks.provider import MARKER

MESSAGES = '[{"role": "user", "content": "Analyze this document, and tell what is missing in it."}]'


class NotHere(Exception):
    """A system is not installed; the text says what would be needed."""


@dataclass(frozen=True)
class Bench:
    """What all systems share: the provider, the clients, a folder for logs and data, and the end of it all."""

    folder: Path
    provider_port: int
    provider_pid: int
    load: Load
    exits: ExitStack

    def provider_url(self, behaviour: str) -> str:
        """An `api_base` of the fake provider."""
        return f"http://127.0.0.1:{self.provider_port}/{behaviour}/v1"

    def log(self, name: str) -> Path:
        """Where a process's output goes."""
        return self.folder / f"{name}.log"


class System(ABC):
    """One of the competitors. `start` makes it ready or raises NotHere; the bench's exits stop it."""

    name: ClassVar[str]
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
        return Target(
            port=self.bench.provider_port,
            paths=[f"/{behaviour}/v1/chat/completions"],
            body=chat_body("gpt-4o-mini", stream=stream),
            headers={"Authorization": "Bearer sk-provider"},
            expect=expected(stream=stream),
        )
