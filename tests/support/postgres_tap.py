"""A TCP proxy in front of PostgreSQL that counts round trips.

A round trip is a message that the server answers and the client waits for: a Query ('Q', which BEGIN and COMMIT
are, too) or a Sync ('S', the end of a prepared or parametrized statement). It reads the frontend's side of the
protocol, so the connection must not be encrypted: `url` says so.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

COUNTED = (b"Q", b"S")
#: Requests for encryption, which come before the startup message and are like it without a type byte.
PREFACES = {80877103, 80877104}
CHUNK = 65536


@dataclass
class Messages:
    """Splits a frontend's stream into messages; remembers nothing but their types."""

    types: list[bytes] = field(default_factory=list)
    _buffer: bytearray = field(default_factory=bytearray)
    _has_started: bool = False

    def feed(self, chunk: bytes) -> None:
        self._buffer += chunk
        while (length := self._length()) is not None and len(self._buffer) >= length:
            message = bytes(self._buffer[:length])
            del self._buffer[:length]
            if self._has_started:
                self.types.append(message[:1])
            else:
                self._has_started = int.from_bytes(message[4:8]) not in PREFACES

    def _length(self) -> int | None:
        """Of the next message, its type byte included."""
        type_bytes = 1 if self._has_started else 0
        if len(self._buffer) < type_bytes + 4:
            return None
        return type_bytes + int.from_bytes(self._buffer[type_bytes : type_bytes + 4])


class PostgresTap:
    """Listens on a port of its own, in a thread of its own."""

    def __init__(self, server_url: str) -> None:
        self._target = urlsplit(server_url)
        self._connections: list[Messages] = []
        self._is_listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="postgres-tap")

    @property
    def round_trips(self) -> int:
        """So far, over all connections."""
        return sum(connection.types.count(kind) for connection in list(self._connections) for kind in COUNTED)

    def url(self, database_url: str) -> str:
        """The same database through the tap."""
        parts = urlsplit(database_url)
        credentials = parts.netloc.rpartition("@")[0]
        netloc = f"{credentials}@127.0.0.1:{self._port}"
        return urlunsplit(parts._replace(netloc=netloc, query="sslmode=disable"))

    def start(self) -> None:
        self._thread.start()
        if not self._is_listening.wait(10):
            raise RuntimeError("the tap does not listen")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port: int = server.sockets[0].getsockname()[1]
        self._is_listening.set()
        await self._stopped.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        # Nobody else holds a connection's task once its sockets are closed.
        task = asyncio.ensure_future(self._connect(from_client, to_client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(self._target.hostname, self._target.port)
        messages = Messages()
        self._connections.append(messages)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pump(from_client, to_server, messages))
                tasks.create_task(_pump(from_server, to_client))
        finally:
            to_server.close()
            to_client.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, messages: Messages | None = None) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(CHUNK):
            if messages is not None:
                messages.feed(chunk)
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


@contextmanager
def postgres_tap(server_url: str) -> Iterator[PostgresTap]:
    """A listening tap in front of this server."""
    tap = PostgresTap(server_url)
    tap.start()
    try:
        yield tap
    finally:
        tap.stop()
