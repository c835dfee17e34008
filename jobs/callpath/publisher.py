"""Handing calls to the broker, as the Celery messages that they are.

Celery's own publishing blocks, so it would need a thread for each call, and costs a millisecond of CPU: a fifth of
all that web does for one (docs/adr/0013). Here one writer per process pushes whatever has gathered while its last
push was under way. The format is Celery's documented message protocol 2 in kombu's envelope for Redis; the tests run
it through a real worker.
"""

import asyncio
import base64
import json

from redis.exceptions import RedisError

from config.foundation.errors import DependencyUnavailable
from jobs.callpath.connections import connect
from jobs.callpath.messages import CallMessage

QUEUE = "calls"
RUN_CALL_TASK = "jobs.run_call"
PUSH_TIMEOUT_S = 5.0


class Publisher:
    """One per process and event loop."""

    def __init__(self) -> None:
        self._redis = connect()
        self._pending: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def publish(self, call: CallMessage) -> None:
        """Put a call into the queue. Raises DependencyUnavailable; then it may be there all the same."""
        pushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((envelope(call), pushed))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await pushed

    async def announce(self, channel: str, text: str) -> None:
        """Tell all workers something, once; who does not listen just now misses it. Raises DependencyUnavailable."""
        try:
            async with asyncio.timeout(PUSH_TIMEOUT_S):
                await self._redis.publish(channel, text)
        except (RedisError, OSError, TimeoutError) as error:
            raise DependencyUnavailable("broker") from error

    async def close(self) -> None:
        """Let what is under way end."""
        if self._writer is not None:
            await self._writer
        await self._redis.aclose()

    async def _write(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            failure: DependencyUnavailable | None = None
            try:
                async with asyncio.timeout(PUSH_TIMEOUT_S):
                    await self._redis.lpush(QUEUE, *[raw for raw, _ in batch])
            except (RedisError, OSError, TimeoutError) as error:
                failure = DependencyUnavailable("broker")
                failure.__cause__ = error
            for _, pushed in batch:
                if pushed.done():
                    continue
                if failure is None:
                    pushed.set_result(None)
                else:
                    pushed.set_exception(failure)


def envelope(call: CallMessage) -> bytes:
    """A call as Celery's Redis transport expects it. Celery's repr of the arguments, the prompt, is left out."""
    identity = str(call.call_id)
    body = json.dumps([[], call.encode(), {}]).encode()
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": RUN_CALL_TASK,
                "id": identity,
                "root_id": identity,
                "parent_id": None,
                "group": None,
                "retries": 0,
                "eta": None,
                "expires": None,
                "timelimit": [None, None],
                "argsrepr": "",
                "kwargsrepr": "",
                "origin": "",
                "ignore_result": True,
            },
            "properties": {
                "correlation_id": identity,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": QUEUE, "routing_key": QUEUE},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": identity,
            },
        }
    ).encode()
