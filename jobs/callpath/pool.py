"""A Celery worker pool that runs `async def` tasks as coroutines on one event loop.

An LLM call is seconds of waiting, so thousands must share a process; threads and greenlets cost three to nine
times as much there (docs/adr/0003). Start it with CELERY_CUSTOM_WORKER_POOL=jobs.callpath.pool:AsyncioPool and
`-P custom`. It runs no Celery signals, retries or results for its tasks: a call's record in the database is what
recovery works from.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Semaphore, Thread
from typing import Any

import uvloop
from celery.concurrency.base import BasePool
from celery.worker import state
from kombu.serialization import loads

logger = logging.getLogger(__name__)

#: How long a warm shutdown waits for calls in flight.
SHUTDOWN_GRACE_S = 130
#: How often a thread that waits for a slot looks whether the worker is to stop.
SLOT_PAUSE_S = 0.2


class AsyncioPool(BasePool):
    """`limit` coroutines at most run at once."""

    body_can_be_buffer = True
    signal_safe = False

    def on_start(self) -> None:
        """Start the loop's thread and what the tasks need on it."""
        # Here, not above: it imports litellm, which takes seconds, and Celery imports this module early.
        from jobs.callpath import runner

        self.loop = uvloop.new_event_loop()
        self.thread = Thread(target=self.loop.run_forever, name="calls", daemon=True)
        self.thread.start()
        self.in_flight: set[Future[None]] = set()
        self.runner = self._submit(runner.start()).result(timeout=90)
        self.slots = Semaphore(self.limit)

    def on_stop(self) -> None:
        """Let calls in flight end, then stop the loop."""
        if self.in_flight:
            logger.info("waiting for %d calls in flight", len(self.in_flight))
            wait(list(self.in_flight), timeout=SHUTDOWN_GRACE_S)
        self._submit(self.runner.close()).result(timeout=30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout=5)

    on_terminate = on_stop

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        callback: Callable[..., Any] | None = None,
        **_: Any,
    ) -> None:
        """Run a task's coroutine. Celery calls this in its own thread, with what its tracer would need.

        Its `accept_callback` is left alone, because it acknowledges the message: two round trips to Redis, a third of
        all that a worker did for a call. Redis has forgotten the message already (`no_ack` on the queue).
        """
        task_name, _task_id, _request, body, content_type, content_encoding = args
        # Celery's thread waits here, and so takes no further message: the others are for other workers. `no_ack` knows
        # no prefetch limit that would do it.
        while not self.slots.acquire(timeout=SLOT_PAUSE_S) and state.should_stop is None:
            pass
        accepted_at = time.monotonic()
        _positional, keywords, _embedded = loads(body, content_type, content_encoding, accept={"application/json"})
        future = self._submit(self._run(task_name, keywords))
        self.in_flight.add(future)

        def done(future: Future[None]) -> None:
            self.in_flight.discard(future)
            self.slots.release()
            if callback is not None:
                callback((0, None, time.monotonic() - accepted_at))

        future.add_done_callback(done)

    async def _run(self, task_name: str, keywords: dict[str, Any]) -> None:
        try:
            await self.app.tasks[task_name].run(self.runner, **keywords)
        except Exception:
            logger.exception("task %s failed", task_name)

    def _submit(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)
