"""How a worker's reply reaches the web process that waits for it.

A Redis list per web process: the worker pushes, one reader per process pops and wakes the waiting call by its
id. A list, not pub/sub, because what is pushed while a reader reconnects is still there afterwards. Redis may
lose it all the same; then a look at the database, once a second, tells how the call ended.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from config.foundation import async_database
from config.foundation.errors import DependencyUnavailable
from jobs.callpath.statements import ENDED_CALLS
from jobs.errors import AnswerLost, call_failed

logger = logging.getLogger(__name__)

REPLY_TTL_S = 300
POP_TIMEOUT_S = 5
LOOK_INTERVAL_S = 1.0
BATCH = 100


def connect() -> "redis.asyncio.Redis":
    """A client that survives a restart of Redis: the first command after one fails without a retry."""
    return redis.asyncio.Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=2,
        # No read timeout: a blocking pop waits on purpose, and 8.x would default to five seconds.
        socket_timeout=None,
        socket_keepalive=True,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=3),
        retry_on_error=[redis.exceptions.ConnectionError, redis.exceptions.TimeoutError],
    )


@dataclass(frozen=True)
class Reply:
    """What the worker says of a call that has ended. `content` is the model's answer, kept nowhere else."""

    call_id: UUID
    state: str
    cause: str = ""
    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    finish_reason: str | None = None
    tokens: int = 0
    latency_ms: int = 0

    def encode(self) -> bytes:
        """As it travels."""
        return json.dumps({**vars(self), "call_id": str(self.call_id)}).encode()

    @classmethod
    def decode(cls, raw: Any) -> "Reply":
        """The reverse."""
        fields: Mapping[str, Any] = json.loads(raw)
        return cls(**{**fields, "call_id": UUID(fields["call_id"])})


class ReplySender:
    """The worker's side: one writer per process, so that a thousand replies do not need a thousand connections."""

    def __init__(self) -> None:
        self._redis = connect()
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._writer = asyncio.create_task(self._write())

    def send(self, reply_to: str, reply: Reply) -> None:
        """Queue a reply; it never raises, because the outcome is already on record."""
        self._queue.put_nowait((reply_to, reply.encode()))

    async def close(self) -> None:
        """Send what is queued, for two seconds at most."""
        try:
            await asyncio.wait_for(self._queue.join(), timeout=2)
        except TimeoutError:
            logger.warning("%d replies could not be sent before the end", self._queue.qsize())
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        await self._redis.aclose()

    async def _write(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for reply_to, reply in batch:
                        pipeline.rpush(reply_to, reply)
                    for reply_to in {reply_to for reply_to, _ in batch}:
                        pipeline.expire(reply_to, REPLY_TTL_S)
                    await pipeline.execute()
            except RedisError as error:
                # The web process finds the outcome in the database; only the answer's text is lost.
                logger.warning("%d replies lost: %s", len(batch), error)
            finally:
                for _ in batch:
                    self._queue.task_done()


class ReplyHub:
    """The web's side: one reader and one look-out per process, however many calls wait."""

    def __init__(self) -> None:
        self.address = f"replies:{uuid.uuid4().hex}"
        self._redis = connect()
        self._waiting: dict[UUID, asyncio.Future[Reply]] = {}
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._look())]

    async def wait(self, call_id: UUID, *, timeout_s: float) -> Reply:
        """The reply to a call. Raises AnswerLost, LLMCallFailed (as found in the database), TimeoutError."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._waiting[call_id]
        finally:
            self._waiting.pop(call_id, None)

    def expect(self, call_id: UUID) -> None:
        """Announce a call before it is dispatched, so that no reply can come too early."""
        self._waiting[call_id] = asyncio.get_running_loop().create_future()

    def forget(self, call_id: UUID) -> None:
        """Take an announced call back."""
        self._waiting.pop(call_id, None)

    async def close(self) -> None:
        """Stop reading; who still waits is cancelled with the server."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()

    async def _read(self) -> None:
        while True:
            try:
                popped = await self._redis.blmpop(POP_TIMEOUT_S, 1, self.address, direction="LEFT", count=BATCH)
            except RedisError as error:
                logger.warning("cannot read replies: %s", error)
                await asyncio.sleep(0.2)
                continue
            for raw in popped[1] if popped else []:
                reply = Reply.decode(raw)
                self._settle(reply.call_id, reply)

    async def _look(self) -> None:
        """Ask the database about calls that have waited for a second or more. A reply on its way gets one more."""
        seen_ended: set[UUID] = set()
        before: set[UUID] = set()
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            waiting = set(self._waiting)
            overdue = list(waiting & before)
            before = waiting
            if not overdue:
                continue
            try:
                ended = await async_database.fetch_all(ENDED_CALLS, {"call_ids": overdue})
            except DependencyUnavailable:
                continue
            for row in ended:
                if row["id"] in seen_ended:
                    lost = AnswerLost() if row["state"] == "succeeded" else call_failed(row["cause"])
                    self._settle(row["id"], lost)
            seen_ended = {row["id"] for row in ended}

    def _settle(self, call_id: UUID, result: Reply | Exception) -> None:
        future = self._waiting.get(call_id)
        if future is None or future.done():
            return
        if isinstance(result, Reply):
            future.set_result(result)
        else:
            future.set_exception(result)
