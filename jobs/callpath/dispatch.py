"""The web's side of a call: admit it, hand it to a worker, wait for what comes of it.

It holds neither a thread nor a database connection while it waits, and never imports litellm. The worker
records the outcome, so a client that leaves, or a web process that dies, loses nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Any, Self, TypeVar
from uuid import UUID

from django.conf import settings

from config.foundation import async_database
from config.foundation.errors import DependencyUnavailable, DomainError
from config.foundation.failpoints import failpoint
from jobs.callpath import idempotency
from jobs.callpath.admission import CallRequest, NewJob, admit, open_job_and_admit
from jobs.callpath.bulletins import CANCELLED
from jobs.callpath.jobs_of_calls import job_of_call
from jobs.callpath.limits.held import Held
from jobs.callpath.limits.limiter import Limiter
from jobs.callpath.messages import CallMessage, Delta, Reply
from jobs.callpath.presence import Presence
from jobs.callpath.publisher import Publisher
from jobs.callpath.replies import LOOKS, LOOKS_WHILE_A_JOB_ENDS, ReplyHub
from jobs.callpath.statements import CALL_IS_ON_RECORD, CANCEL_QUEUED_CALL, WITHDRAW_CALL
from jobs.errors import AnswerLost, LLMCallFailed, Overloaded, call_failed, failure_text
from jobs.services.jobs import end_with_call
from modelgroups.gateway.errors import Cause
from tenancy.queries.principals import TeamRef

logger = logging.getLogger(__name__)

#: How much longer than the call's own deadline web waits: until the sweeper has ended what no worker took.
GRACE_S = 25.0
#: How often, and how long apart, the database is asked to take back a call while it is away.
TAKE_BACK_TRIES = 60
TAKE_BACK_PAUSE_S = 1.0

Result = TypeVar("Result")


class Form(StrEnum):
    """How the caller wants the answer."""

    ANSWER = "answer"
    STREAM = "stream"
    STORED = "stored"


@dataclass(frozen=True)
class Order:
    """A call to be made: whose, in which job (an open one's id, a new one, or None), and in which form.

    `request_hash` tells whether the same is asked again under the same Idempotency-Key. `held` is what it is limited
    by, and, once it was dispatched or refused, how that stands.
    """

    team: TeamRef
    job: UUID | NewJob | None
    request: CallRequest
    form: Form
    request_hash: bytes = b""
    held: Held = field(default_factory=Held, compare=False)


@dataclass(frozen=True)
class Dispatched:
    """A call that is on its way; or, with a `replay`, one that was made under the same key before."""

    call_id: UUID
    job_id: UUID | None
    order: Order
    replay: Reply | None = None


class _Lines:
    """This process's lines to the workers, made in the event loop that first needs them."""

    def __init__(self) -> None:
        self.hub = ReplyHub()
        self.publisher = Publisher()
        self.presence = Presence("web")
        self.limiter = Limiter()

    async def close(self) -> None:
        await self.presence.leave()
        await self.limiter.close()
        await self.hub.close()
        await self.publisher.close()


_open_lines: _Lines | None = None


def _lines() -> _Lines:
    global _open_lines
    if _open_lines is None:
        _open_lines = _Lines()
    return _open_lines


async def close() -> None:
    """Close the lines, if there are any."""
    global _open_lines
    if _open_lines is not None:
        lines, _open_lines = _open_lines, None
        await lines.close()


async def dispatch(order: Order) -> Dispatched:
    """Admit a call and hand it to a worker.

    Raises what `admit` does, RateLimited, CallExceedsLimit, Overloaded, DependencyUnavailable, for a new job also
    InsufficientCredits: nothing was dispatched, and there is no record.
    With a key also IdempotencyKeyReused, IdempotencyKeyInFlight.
    """
    if _lines().hub.queued_calls >= settings.MAX_QUEUED_CALLS:
        raise Overloaded
    return await _in_any_case(
        _dispatch(order) if order.request.key is None else _claim_and_dispatch(order, order.request.key)
    )


async def answer(dispatched: Dispatched) -> Reply:
    """Wait for the worker's reply, whose state is `succeeded`.

    Raises LLMCallFailed (on record as failed or interrupted), AnswerLost.
    """
    if dispatched.replay is not None:
        return dispatched.replay
    async with Stream(dispatched) as messages:
        async for message in messages:
            if isinstance(message, Reply):
                return succeeded(message)
    raise RuntimeError("a stream ends with a reply")


def succeeded(reply: Reply) -> Reply:
    """The reply. Raises LLMCallFailed where it tells of a call that did not succeed."""
    if reply.state != "succeeded":
        raise call_failed(reply.cause)
    return reply


class Stream:
    """What a worker sends for a call: deltas, if they were asked for, and at last the reply, whatever its state.

    Leaving it early stops the call where its form is STREAM.
    """

    def __init__(self, dispatched: Dispatched) -> None:
        self._dispatched = dispatched
        self._mailbox = _lines().hub.mailbox(dispatched.call_id)
        self._has_ended = False
        self._deltas = 0
        self._deadline = asyncio.get_running_loop().time() + settings.CALL_DEADLINE_S + GRACE_S

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        _lines().hub.close_mailbox(self._dispatched.call_id)
        if not self._has_ended and self._dispatched.order.form is Form.STREAM:
            await _in_any_case(_cancel(self._dispatched))

    def __aiter__(self) -> AsyncIterator[Delta | Reply]:
        return self

    async def __anext__(self) -> Delta | Reply:
        """Raises AnswerLost (a lost delta is one, too), LLMCallFailed (the worker has died)."""
        if self._has_ended:
            raise StopAsyncIteration
        try:
            async with asyncio.timeout_at(self._deadline):
                return self._checked(await self._mailbox.get())
        except TimeoutError:
            self._has_ended = True
            logger.error("call %s neither answered nor ended in time", self._dispatched.call_id)
            raise AnswerLost from None
        except LLMCallFailed:
            self._has_ended = True
            if (key := self._dispatched.order.request.key) is not None:
                # A worker gives it back; but not one that has died.
                await idempotency.give_back(key, call_id=self._dispatched.call_id)
            raise

    def _checked(self, message: Delta | Reply) -> Delta | Reply:
        if isinstance(message, Delta):
            failpoint("web.piece_received")
            if message.number != self._deltas:
                raise AnswerLost
            self._deltas += 1
            return message
        self._has_ended = True
        failpoint("web.reply_received")
        if message.deltas != self._deltas:
            raise AnswerLost
        return message


async def _claim_and_dispatch(order: Order, key: idempotency.CallKey) -> Dispatched:
    stored = await idempotency.claim(key, request_hash=order.request_hash, call_id=order.request.call_id)
    failpoint("web.key_claimed")
    if stored is not None:
        reply = Reply.decode(stored)
        if isinstance(order.job, NewJob) and reply.job is None:
            reply = replace(reply, job=await async_database.in_thread(partial(job_of_call, reply.call_id)))
        return Dispatched(call_id=reply.call_id, job_id=None, order=order, replay=reply)
    try:
        return await _dispatch(order)
    except DependencyUnavailable:
        # Whether there is a call, nobody knows yet: `_take_back` gives the key back once it does.
        raise
    except DomainError:
        await idempotency.give_back(key, call_id=order.request.call_id)
        raise


async def _dispatch(order: Order) -> Dispatched:
    """Admit the call and hand it to a worker; the hub then has a mailbox for it, unless it is stored."""
    failpoint("web.call_received")
    order = await _limited(order)
    failpoint("web.call_limited")
    try:
        dispatched = await _admit(order)
    except DependencyUnavailable:
        # The database may have gone away just after it had written the call down.
        _run_beside(_take_back(order))
        raise
    except BaseException:
        await _give_back(order)
        raise
    failpoint("web.call_admitted")
    if order.form is Form.STORED:
        try:
            failpoint("web.stored_call_admitted")
            await _lines().publisher.publish(CallMessage(dispatched.call_id, is_limited=order.held.is_taken))
            failpoint("web.stored_call_dispatched")
        except DependencyUnavailable:
            # It is written down with all that it needs: the sweeper hands it over when the broker is back.
            logger.warning("call %s waits for the broker", dispatched.call_id)
        return dispatched
    lines = _lines()
    publish = partial(lines.publisher.publish, _message(dispatched, reply_to=lines.hub.address))
    patience = LOOKS_WHILE_A_JOB_ENDS if isinstance(order.job, NewJob) else LOOKS
    lines.hub.open(dispatched.call_id, hand_over_again=publish, patience=patience)
    try:
        await publish()
        failpoint("web.call_dispatched")
    except DependencyUnavailable:
        try:
            is_withdrawn = await _withdraw(dispatched)
        except DependencyUnavailable:
            lines.hub.close_mailbox(dispatched.call_id)
            _run_beside(_take_back(order))
            raise
        if not is_withdrawn:
            # The message did get through: a worker has claimed the call, so its reply will come.
            return dispatched
        lines.hub.close_mailbox(dispatched.call_id)
        if order.request.key is not None:
            await idempotency.give_back(order.request.key, call_id=dispatched.call_id)
        raise
    except BaseException:
        lines.hub.close_mailbox(dispatched.call_id)
        raise
    return dispatched


async def _limited(order: Order) -> Order:
    """Take the call from its limits. Raises RateLimited, CallExceedsLimit, TooManyCalls: then nothing is taken."""
    request, held = order.request, order.held
    if held.counts_tokens:
        request = replace(request, ceiling=request.count())
    await held.take(_lines().limiter, request.call_id, ceiling=request.ceiling, deadline_s=request.deadline_s)
    return replace(order, request=request)


async def _give_back(order: Order) -> None:
    await order.held.give_back(_lines().limiter, order.request.call_id)


async def _admit(order: Order) -> Dispatched:
    request = replace(order.request, process_id=None if order.form is Form.STORED else _lines().presence.id)
    if not isinstance(order.job, NewJob):
        call_id = await admit(team=order.team, job_id=order.job, request=request)
        return Dispatched(call_id=call_id, job_id=order.job, order=order)
    opening = partial(open_job_and_admit, team=order.team, job=order.job, request=request)
    job_id, call_id = await async_database.in_thread(opening)
    return Dispatched(call_id=call_id, job_id=job_id, order=order)


async def _withdraw(dispatched: Dispatched) -> bool:
    """Take back a call that may not have reached the broker. False where a worker has taken it after all."""
    if await async_database.fetch_one(WITHDRAW_CALL, {"call_id": dispatched.call_id}) is None:
        return False
    await _give_back(dispatched.order)
    if dispatched.job_id is not None and isinstance(dispatched.order.job, NewJob):
        await async_database.in_thread(partial(end_with_call, job_id=dispatched.job_id))
    return True


async def _take_back(order: Order) -> None:
    """Withdraw a call of which nobody knows whether it is there, once the database can be asked.

    A worker may have taken it meanwhile; then it runs to its end, as one does whose client has left. A job that was
    made for it is ended by the sweeper.
    """
    call_id = order.request.call_id
    for _ in range(TAKE_BACK_TRIES):
        try:
            await async_database.fetch_one(WITHDRAW_CALL, {"call_id": call_id})
            if await async_database.fetch_one(CALL_IS_ON_RECORD, {"call_id": call_id}) is None:
                await _give_back(order)
            if order.request.key is not None:
                await idempotency.give_back(order.request.key, call_id=call_id)
            return
        except DependencyUnavailable:
            await asyncio.sleep(TAKE_BACK_PAUSE_S)
    logger.error("call %s may be left open until its deadline", call_id)


def _run_beside(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    _running.add(task)
    task.add_done_callback(_running.discard)


def _message(dispatched: Dispatched, *, reply_to: str) -> CallMessage:
    order = dispatched.order
    return CallMessage(
        call_id=dispatched.call_id,
        messages=order.request.messages,
        parameters=order.request.parameters,
        reply_to=reply_to,
        streams=order.form is Form.STREAM,
        ends_job=dispatched.job_id if isinstance(order.job, NewJob) else None,
        key=order.request.key,
        endpoint=order.request.endpoint,
        is_limited=order.held.is_taken,
    )


async def _cancel(dispatched: Dispatched) -> None:
    """Stop a stream whose client has gone. Where that fails, it runs to its end and is recorded as it was."""
    call_id = dispatched.call_id
    ended = {"call_id": call_id, "cause": Cause.CLIENT_GONE, "error": failure_text(Cause.CLIENT_GONE)}
    try:
        if await async_database.fetch_one(CANCEL_QUEUED_CALL, ended) is None:
            await _lines().publisher.announce(CANCELLED, str(call_id))
        else:
            await _give_back(dispatched.order)
    except DependencyUnavailable:
        logger.warning("call %s could not be cancelled", call_id)


#: The event loop itself keeps no hold of its tasks.
_running: "set[asyncio.Task[Any]]" = set()


async def _in_any_case(work: Coroutine[Any, Any, Result]) -> Result:
    """Let it run to its end, even if the client leaves meanwhile.

    A call that is written down and never dispatched would keep its job from completing until its deadline, and
    its Idempotency-Key from being used.
    """
    task = asyncio.create_task(work)
    _running.add(task)
    task.add_done_callback(_running.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_nobody_waits)
        raise


def _nobody_waits(task: "asyncio.Task[Any]") -> None:
    if task.cancelled() or task.exception() is not None:
        return
    dispatched = task.result()
    if isinstance(dispatched, Dispatched) and dispatched.replay is None:
        _lines().hub.close_mailbox(dispatched.call_id)
        if dispatched.order.form is Form.STREAM:
            _run_beside(_cancel(dispatched))
