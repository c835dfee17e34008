"""Clients that cost little: a process that keeps connections busy, by hand, on a bare asyncio protocol.

It reads one `Plan` per line of JSON from its standard input, and answers each with an `Outcome`. `Load` is the
benchmark's side of it. Each client sends its next request when it has the last one's answer.
"""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from typing import Any

from tests.support.stack import ROOT, StackError, clean_environment

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
#: What the provider puts into a streamed token: when it was sent.
SENT_AT = re.compile(rb"@(\d+\.\d{6})@")
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class Target:
    """Where requests go, and what all of them have in common."""

    port: int
    paths: list[str]
    body: str
    headers: dict[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    #: A text that every good answer holds.
    expect: str = ""


@dataclass(frozen=True)
class Plan:
    """What to send: for a while, or a number of requests (None: each path once)."""

    target: Target
    clients: int
    duration_s: float | None = None
    requests: int | None = None
    timeout_s: float = 120
    #: A pattern whose first group is collected from each answer.
    collect: str = ""


@dataclass
class Outcome:
    """What came back."""

    elapsed_s: float = 0
    latencies_ms: list[float] = field(default_factory=list)
    #: Of streams: until the first token came, and how long each token was on its way.
    first_ms: list[float] = field(default_factory=list)
    lags_ms: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    collected: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return sum(self.errors.values())


# --- The process --------------------------------------------------------------------------------------------


class Run:
    """One plan, being carried out."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.target = plan, plan.target
        self.outcome = Outcome()
        self.errors: Counter[str] = Counter()
        self.expected = plan.target.expect.encode()
        self.collect = re.compile(plan.collect.encode()) if plan.collect else None
        self.stop_at = float("inf")
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.active = plan.clients
        self.requests = self._requests()

    def _requests(self) -> Iterator[bytes]:
        heads = (self._encode(path) for path in self.target.paths)
        if self.plan.duration_s is not None:
            return cycle(heads)
        return islice(cycle(heads), self.plan.requests or len(self.target.paths))

    def _encode(self, path: str) -> bytes:
        lines = [f"POST {path} HTTP/1.1", f"Host: {self.target.host}:{self.target.port}"]
        lines += [f"{name}: {value}" for name, value in self.target.headers.items()]
        body = self.target.body.encode()
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode() + body

    def next(self) -> bytes | None:
        """The next request; none when it is over."""
        return next(self.requests, None) if time.monotonic() < self.stop_at else None

    def ended(self, client: "Client", error: str = "") -> None:
        if error:
            self.errors[error] += 1
        if not client.is_over:
            client.is_over = True
            self.active -= 1
            if self.active == 0 and not self.over.done():
                self.over.set_result(None)

    async def carry_out(self) -> Outcome:
        loop = asyncio.get_running_loop()
        clients = [Client(self) for _ in range(self.plan.clients)]
        await asyncio.gather(*(client.connect() for client in clients))
        began = time.monotonic()
        if self.plan.duration_s is not None:
            self.stop_at = began + self.plan.duration_s
        for client in clients:
            loop.call_soon(client.send)
        try:
            await asyncio.wait_for(self.over, self.plan.timeout_s)
        except TimeoutError:
            self.errors["no answer in time"] += self.active
        self.outcome.elapsed_s = time.monotonic() - began
        for client in clients:
            client.close()
        self.outcome.errors = dict(self.errors)
        return self.outcome


class Client(asyncio.Protocol):
    """One connection, and what has come of the answer that it waits for."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.is_over = False
        self.transport: asyncio.Transport | None = None
        self.reset()

    def reset(self) -> None:
        self.received = bytearray()
        self.end: int | None = None
        self.is_chunked = False
        self.is_first_token = True
        self.read_to = 0

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(50):
            with suppress(OSError):
                await loop.create_connection(lambda: self, self.run.target.host, self.run.target.port)
                return
            await asyncio.sleep(0.1)
        raise ConnectionError(f"nobody listens on {self.run.target.port}")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def close(self) -> None:
        self.is_over = True
        if self.transport is not None:
            self.transport.close()

    def send(self) -> None:
        request = self.run.next()
        if request is None:
            self.run.ended(self)
            return
        if self.transport is None or self.transport.is_closing():
            asyncio.ensure_future(self._send_on_a_new_connection(request))  # noqa: RUF006 (run.over waits for it)
            return
        self._send(request)

    def _send(self, request: bytes) -> None:
        self.reset()
        self.sent_at = time.monotonic()
        assert self.transport is not None
        self.transport.write(request)

    async def _send_on_a_new_connection(self, request: bytes) -> None:
        try:
            await self.connect()
        except ConnectionError as error:
            self.run.ended(self, str(error))
            return
        self._send(request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.end is None and not self.is_chunked and not self._read_head():
            return
        if self.is_chunked:
            self._read_tokens()
            if self.received.endswith(LAST_CHUNK):
                self._answered()
        elif self.end is not None and len(self.received) >= self.end:
            self._answered()

    def _read_head(self) -> bool:
        head_end = self.received.find(b"\r\n\r\n")
        if head_end < 0:
            return False
        if length := LENGTH.search(self.received, 0, head_end):
            self.end = head_end + 4 + int(length[1])
        else:
            self.is_chunked = True
        return True

    def _read_tokens(self) -> None:
        now = time.monotonic()
        for token in SENT_AT.finditer(self.received, self.read_to):
            self.read_to = token.end()
            self.run.outcome.lags_ms.append((now - float(token[1])) * 1000)
            if self.is_first_token:
                self.is_first_token = False
                self.run.outcome.first_ms.append((now - self.sent_at) * 1000)

    def _answered(self) -> None:
        run, received = self.run, self.received
        status = bytes(received[9:12]).decode()
        if status != "200":
            run.errors[f"status {status}"] += 1
        elif run.expected not in received:
            run.errors["another answer"] += 1
        else:
            run.outcome.latencies_ms.append((time.monotonic() - self.sent_at) * 1000)
            if run.collect and (found := run.collect.search(received)):
                run.outcome.collected.append(found[1].decode())
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if not self.is_over:
            self.run.errors["connection lost"] += 1
            self.send()


async def _serve() -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        fields = json.loads(line)
        plan = Plan(**{**fields, "target": Target(**fields["target"])})
        print(json.dumps(asdict(await Run(plan).carry_out())), flush=True)


# --- The benchmark's side -----------------------------------------------------------------------------------


class Load:
    """The client process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid = process.pid

    def run(self, plan: Plan) -> Outcome:
        """Carry it out and wait for its end. Raises StackError if the process has died."""
        pipes = self._process.stdin, self._process.stdout
        if pipes[0] is None or pipes[1] is None:
            raise StackError("the load generator's pipes are missing")
        pipes[0].write(json.dumps(asdict(plan)) + "\n")
        pipes[0].flush()
        line = pipes[1].readline()
        if not line:
            raise StackError("the load generator has died")
        fields: dict[str, Any] = json.loads(line)
        return Outcome(**fields)


@contextmanager
def running_load() -> Iterator[Load]:
    """It ends with its standard input, so also with a benchmark that is killed."""
    command = [sys.executable, "-m", "benchmarks.load"]
    with subprocess.Popen(
        command, cwd=ROOT, env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Load(process)
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(_serve())
