"""How what a worker has to say of a call reaches the web process that waits for it.

A Redis list per web process: the worker pushes, one reader per process pops and hands each message to its call's
mailbox. A list, not pub/sub, because what is pushed while a reader reconnects is still there afterwards. Redis may
lose it all the same; then a look at the database, once a second, tells what became of the call.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from uuid import UUID

from redis.exceptions import RedisError

from config.foundation import async_database, background
from config.foundation.errors import DependencyUnavailable
from jobs.callpath.connections import connect
from jobs.callpath.messages import Delta, Reply, decode
from jobs.callpath.statements import CALLS_THAT_DO_NOT_RUN, QUEUED_CALLS
from jobs.errors import AnswerLost, call_failed

logger = logging.getLogger(__name__)

REPLY_TTL_S = 300
POP_TIMEOUT_S = 5
LOOK_INTERVAL_S = 1.0
#: So many looks that find a call ended mean that its reply is lost; more where its job ends after it, which takes
#: transactions of their own.
LOOKS = 2
LOOKS_WHILE_A_JOB_ENDS = 15
BATCH = 100
#: A call that no worker has taken so long after it was handed over is handed over again: Redis may have lost it.
#: Ever more rarely, because a queue that is merely long is no reason to make it longer.
HAND_OVER_AGAIN_AFTER_S = (3.0, 10.0, 30.0, 60.0)


class ReplySender:
    """The worker's side: one writer per process, so that a thousand replies do not need a thousand connections."""

    def __init__(self) -> None:
        self._redis = connect()
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._writer = asyncio.create_task(self._write())

    def send(self, reply_to: str, message: Delta | Reply) -> None:
        """Queue a message; it never raises, because what matters is on record."""
        self._queue.put_nowait((reply_to, message.encode()))

    async def close(self) -> None:
        """Send what is queued, for two seconds at most."""
        try:
            await asyncio.wait_for(self._queue.join(), timeout=2)
        except TimeoutError:
            logger.warning("%d replies could not be sent before the end", self._queue.qsize())
        await background.stop(self._writer)
        await self._redis.aclose()

    async def _write(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            by_address: dict[str, list[bytes]] = {}
            for reply_to, message in batch:
                by_address.setdefault(reply_to, []).append(message)
            try:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for reply_to, messages in by_address.items():
                        pipeline.rpush(reply_to, *messages)
                        pipeline.expire(reply_to, REPLY_TTL_S)
                    await pipeline.execute()
            except RedisError as error:
                # The web process finds the outcome in the database; only the answer's text is lost.
                logger.warning("%d replies lost: %s", len(batch), error)
            finally:
                for _ in batch:
                    self._queue.task_done()


class Mailbox:
    """What has come for one call, in the order in which it was sent."""

    def __init__(self, hand_over_again: Callable[[], Awaitable[None]], patience: int) -> None:
        self.hand_over_again = hand_over_again
        #: How many looks at the database may yet find the call ended, before its reply counts as lost.
        self.patience = patience
        self.opened_at = time.monotonic()
        self.times_handed_over = 1
        self._messages: asyncio.Queue[Delta | Reply | Exception] = asyncio.Queue()

    def put(self, message: Delta | Reply | Exception) -> None:
        """An exception is what the waiting coroutine gets instead of a message."""
        self._messages.put_nowait(message)

    async def get(self) -> Delta | Reply:
        """The next message. Raises AnswerLost, LLMCallFailed (as found in the database)."""
        message = await self._messages.get()
        if isinstance(message, Exception):
            raise message
        return message

    def get_nowait(self) -> Delta | Reply | None:
        """The same, or None where nothing is there yet."""
        if self._messages.empty():
            return None
        message = self._messages.get_nowait()
        if isinstance(message, Exception):
            raise message
        return message

    def is_due_again(self) -> bool:
        """Whether the call, which no worker has taken yet, should be handed over again."""
        handed_over = self.times_handed_over - 1
        waits = HAND_OVER_AGAIN_AFTER_S
        return handed_over < len(waits) and time.monotonic() - self.opened_at > waits[handed_over]


class ReplyHub:
    """The web's side: one reader and one look-out per process, however many calls wait."""

    def __init__(self) -> None:
        self.address = f"replies:{uuid.uuid4().hex}"
        #: As of the last look: how many calls wait for a worker, of all web processes.
        self.queued_calls = 0
        self._redis = connect()
        self._mailboxes: dict[UUID, Mailbox] = {}
        self._again: set[asyncio.Task[None]] = set()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._look())]

    def open(self, call_id: UUID, *, hand_over_again: Callable[[], Awaitable[None]], patience: int = LOOKS) -> Mailbox:
        """Announce a call before it is dispatched, so that no reply can come too early."""
        mailbox = self._mailboxes[call_id] = Mailbox(hand_over_again, patience)
        return mailbox

    def mailbox(self, call_id: UUID) -> Mailbox:
        """The mailbox of an announced call."""
        return self._mailboxes[call_id]

    def close_mailbox(self, call_id: UUID) -> None:
        """Nobody waits for the call any more."""
        self._mailboxes.pop(call_id, None)

    async def close(self) -> None:
        """Stop reading; who still waits is cancelled with the server."""
        await background.stop(*self._tasks, *self._again)
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
                message = decode(raw)
                mailbox = self._mailboxes.get(message.call_id)
                if mailbox is not None:
                    mailbox.put(message)

    async def _look(self) -> None:
        """Ask the database about calls that have waited for a second or more."""
        before: set[UUID] = set()
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            waiting = set(self._mailboxes)
            overdue = list(waiting & before)
            before = waiting
            try:
                row = await async_database.fetch_one(QUEUED_CALLS, {})
                self.queued_calls = row["calls"] if row else 0
                rows = await async_database.fetch_all(CALLS_THAT_DO_NOT_RUN, {"call_ids": overdue}) if overdue else []
            except DependencyUnavailable:
                continue
            for row in rows:
                if row["state"] != "queued":
                    self._has_ended(row)
            self._hand_over_again([row["id"] for row in rows if row["state"] == "queued"])

    def _has_ended(self, row: async_database.Row) -> None:
        """A reply may be on its way, so a call that has just ended is looked at again."""
        mailbox = self._mailboxes.get(row["id"])
        if mailbox is not None:
            mailbox.patience -= 1
            if mailbox.patience == 0:
                mailbox.put(AnswerLost() if row["state"] == "succeeded" else call_failed(row["cause"]))

    def _hand_over_again(self, queued: list[UUID]) -> None:
        for call_id in queued:
            mailbox = self._mailboxes.get(call_id)
            if mailbox is not None and mailbox.is_due_again():
                mailbox.times_handed_over += 1
                task = asyncio.ensure_future(self._try_again(mailbox))
                self._again.add(task)
                task.add_done_callback(self._again.discard)

    async def _try_again(self, mailbox: Mailbox) -> None:
        try:
            await mailbox.hand_over_again()
        except DependencyUnavailable:
            logger.warning("a call that nobody has taken could not be handed over again")
