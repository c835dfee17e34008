"""A client process that sends many requests at the same moment.

It reads one line of JSON per burst, a list of requests, and answers with one line of JSON, the list of their
answers in the same order. `Clients` is the test's side of it: several such processes that fire together.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import IO, Any
from urllib.parse import urlsplit

from tests.support.stack import ROOT, StackError, clean_environment

TIMEOUT_S = 60


@dataclass(frozen=True)
class Post:
    """One request."""

    url: str
    key: str
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """One answer; status 0 where the connection broke."""

    status: int
    text: str
    took_s: float

    @property
    def body(self) -> Any:
        return json.loads(self.text)


# --- The process --------------------------------------------------------------------------------------------


async def _send(post: dict[str, Any]) -> Reply:
    """By hand: an HTTP library would take more of the machine than the service under test."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            status, text = await _exchange(post)
    except (OSError, EOFError) as error:
        status, text = 0, repr(error)
    return Reply(status, text, time.monotonic() - started)


async def _exchange(post: dict[str, Any]) -> tuple[int, str]:
    url, body = urlsplit(post["url"]), json.dumps(post["body"]).encode()
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        head = (
            f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {post['key']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        raw = await reader.read()
    finally:
        writer.close()
    answer_head, separator, answer = raw.partition(b"\r\n\r\n")
    if not separator:
        raise EOFError("no answer")
    return int(answer_head.split(b" ", 2)[1]), answer.decode()


async def _serve() -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        replies = await asyncio.gather(*(_send(post) for post in json.loads(line)))
        print(json.dumps([asdict(reply) for reply in replies]), flush=True)  # noqa: T201 (the protocol)


# --- The test's side ----------------------------------------------------------------------------------------


class Clients:
    """Client processes, each with its share of a burst's requests."""

    def __init__(self, processes: Sequence["subprocess.Popen[str]"]) -> None:
        self._processes = processes

    def fire(self, posts: Sequence[Post]) -> list[Reply]:
        """Send all of them at once, and wait for all answers (in no certain order)."""
        count = len(self._processes)
        shares = [posts[number::count] for number in range(count)]
        for process, share in zip(self._processes, shares, strict=True):
            _pipe(process.stdin).write(json.dumps([asdict(post) for post in share]) + "\n")
        for process in self._processes:
            _pipe(process.stdin).flush()
        lines = [_pipe(process.stdout).readline() for process in self._processes]
        if not all(lines):
            raise StackError("a client process has died")
        return [Reply(**reply) for line in lines for reply in json.loads(line)]


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise StackError("a pipe is missing")
    return pipe


@contextmanager
def client_processes(count: int) -> Iterator[Clients]:
    """They end with their standard input, so also with a test run that is killed."""
    command = [sys.executable, "-m", "tests.live.burst"]
    with ExitStack() as exits:
        processes = []
        for _ in range(count):
            process = exits.enter_context(
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=clean_environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            exits.callback(process.kill)
            processes.append(process)
        clients = Clients(processes)
        clients.fire([])
        yield clients


if __name__ == "__main__":
    asyncio.run(_serve())
