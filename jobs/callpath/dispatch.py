"""The web's side of a call: admit it, hand it to a worker, wait for the answer.

It holds neither a thread nor a database connection while it waits, and never imports litellm. The worker
records the outcome, so a client that leaves, or a web process that dies, loses nothing.
"""

import asyncio
import logging
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from celery import current_app
from django.conf import settings
from kombu.exceptions import KombuError, OperationalError

from config.foundation import async_database
from config.foundation.errors import DependencyUnavailable, DomainError
from jobs.callpath import idempotency
from jobs.callpath.replies import Reply, ReplyHub
from jobs.callpath.statements import ADMIT_CALL, WITHDRAW_CALL
from jobs.errors import (
    AnswerLost,
    CallNotFound,
    JobAlreadyEnded,
    JobNotFound,
    LLMCallFailed,
    NotRetryable,
    call_failed,
)
from modelgroups.errors import ModelGroupAccessDenied
from tenancy.queries.principals import TeamRef

logger = logging.getLogger(__name__)

RUN_CALL_TASK = "jobs.run_call"
#: How much longer than the call's own deadline web waits: until the sweeper has ended what no worker took.
GRACE_S = 25.0

Dispatched = TypeVar("Dispatched")


@dataclass(frozen=True)
class CallRequest:
    """A validated call. `parameters` are a chat completion's, by OpenAI's and LiteLLM's names."""

    model_group: str
    messages: list[dict[str, Any]] = field(repr=False)
    parameters: dict[str, Any]
    purpose: str = ""
    retry_of: UUID | None = None


_hub: ReplyHub | None = None


def _reply_hub() -> ReplyHub:
    """This process's hub, made in the event loop that first needs it."""
    global _hub
    if _hub is None:
        _hub = ReplyHub()
    return _hub


async def close() -> None:
    """Stop the hub, if there is one."""
    global _hub
    if _hub is not None:
        hub, _hub = _hub, None
        await hub.close()


async def make_call_once(
    *, team: TeamRef, job_id: UUID, request: CallRequest, key: idempotency.CallKey, request_hash: bytes
) -> tuple[Reply, bool]:
    """As make_call, but at most once for a key: (reply, whether it is a replay).

    Raises also IdempotencyKeyReused, IdempotencyKeyInFlight.
    """
    dispatched = await _in_any_case(
        _claim_and_dispatch(team=team, job_id=job_id, request=request, key=key, request_hash=request_hash)
    )
    if isinstance(dispatched, Reply):
        return dispatched, True
    try:
        return await _answer(dispatched), False
    except LLMCallFailed:
        await idempotency.give_back(key)
        raise


async def make_call(*, team: TeamRef, job_id: UUID, request: CallRequest) -> Reply:
    """Run one call to its end and return the worker's reply, whose state is `succeeded`.

    Raises JobNotFound, JobAlreadyEnded, ModelGroupAccessDenied, CallNotFound, NotRetryable (nothing dispatched, no
    record), LLMCallFailed (on record as failed), AnswerLost, DependencyUnavailable.
    """
    return await _answer(await _in_any_case(_dispatch(team=team, job_id=job_id, request=request, key=None)))


async def _claim_and_dispatch(
    *, team: TeamRef, job_id: UUID, request: CallRequest, key: idempotency.CallKey, request_hash: bytes
) -> UUID | Reply:
    """The new call's id, or the reply that an earlier one got."""
    stored = await idempotency.claim(key, request_hash=request_hash)
    if stored is not None:
        return Reply.decode(stored)
    try:
        return await _dispatch(team=team, job_id=job_id, request=request, key=key)
    except DomainError:
        await idempotency.give_back(key)
        raise


async def _dispatch(*, team: TeamRef, job_id: UUID, request: CallRequest, key: idempotency.CallKey | None) -> UUID:
    """Admit the call and hand it to a worker. Returns its id, which the hub then expects a reply for."""
    hub = _reply_hub()
    call_id = await admit(team=team, job_id=job_id, request=request)
    hub.expect(call_id)
    try:
        await _publish(call_id, request, reply_to=hub.address, key=key)
    except BaseException:
        hub.forget(call_id)
        raise
    return call_id


async def _answer(call_id: UUID) -> Reply:
    """Wait for the worker. Raises LLMCallFailed, AnswerLost."""
    try:
        reply = await _reply_hub().wait(call_id, timeout_s=settings.CALL_DEADLINE_S + GRACE_S)
    except TimeoutError:
        logger.error("call %s neither answered nor ended in time", call_id)
        raise AnswerLost from None
    if reply.state != "succeeded":
        raise call_failed(reply.cause)
    return reply


#: The event loop itself keeps no hold of its tasks.
_dispatching: "set[asyncio.Task[Any]]" = set()


async def _in_any_case(dispatching: Coroutine[Any, Any, Dispatched]) -> Dispatched:
    """Let it run to its end, even if the client leaves meanwhile.

    A call that is written down and never dispatched would keep its job from completing until its deadline, and
    its Idempotency-Key from being used.
    """
    task = asyncio.create_task(dispatching)
    _dispatching.add(task)
    task.add_done_callback(_dispatching.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_expect_no_reply)
        raise


def _expect_no_reply(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled() and task.exception() is None and isinstance(task.result(), UUID):
        _reply_hub().forget(task.result())


async def admit(*, team: TeamRef, job_id: UUID, request: CallRequest) -> UUID:
    """Write the call down before it is dispatched. Raises as make_call, and then there is no record."""
    parameters = {
        "call_id": uuid.uuid4(),
        "job_id": job_id,
        "team_pk": team.pk,
        "model_group": request.model_group,
        "purpose": request.purpose,
        "retry_of": request.retry_of,
        "deadline": timedelta(seconds=settings.CALL_DEADLINE_S),
    }
    try:
        row = await async_database.fetch_one(ADMIT_CALL, parameters)
    except psycopg.errors.UniqueViolation as error:
        raise NotRetryable("this call has been retried already") from error
    except psycopg.errors.ForeignKeyViolation as error:
        # The group was deleted between the statement's look at it and the insert.
        raise ModelGroupAccessDenied(team.team_id, request.model_group) from error
    if row is None:
        raise RuntimeError("ADMIT_CALL always returns a row")
    if row["call_id"] is not None:
        return row["call_id"]
    raise _refusal(row, team=team, request=request)


def _refusal(row: async_database.Row, *, team: TeamRef, request: CallRequest) -> DomainError:
    """Why ADMIT_CALL inserted nothing."""
    if row["job_status"] is None:
        return JobNotFound()
    if row["group_id"] is None:
        return ModelGroupAccessDenied(team.team_id, request.model_group)
    if row["job_status"] not in ("pending", "in_progress"):
        return JobAlreadyEnded(row["job_status"], "no further call can be made in it")
    if row["retried_state"] is None:
        return CallNotFound(str(request.retry_of))
    if row["is_retried"]:
        return NotRetryable("this call has been retried already")
    return NotRetryable(f"this call has not failed, it is {row['retried_state']}")


async def _publish(call_id: UUID, request: CallRequest, *, reply_to: str, key: idempotency.CallKey | None) -> None:
    """Hand the call to the broker, by the task's name. Raises DependencyUnavailable; then the call is withdrawn."""
    arguments = {
        "call_id": str(call_id),
        "messages": request.messages,
        "parameters": request.parameters,
        "reply_to": reply_to,
        "idempotency": key.as_message() if key else None,
    }
    try:
        # kombu blocks, so it runs in a thread for the millisecond that it takes.
        await asyncio.to_thread(
            current_app.send_task,
            RUN_CALL_TASK,
            kwargs=arguments,
            task_id=str(call_id),
            expires=settings.CALL_DEADLINE_S,
            ignore_result=True,
            # Celery would put a repr of the arguments, that is of the prompt, into the headers.
            argsrepr="",
            kwargsrepr="",
        )
    except (OperationalError, KombuError, OSError) as error:
        logger.warning("call %s could not be published: %s", call_id, error)
        if await async_database.fetch_one(WITHDRAW_CALL, {"call_id": call_id}) is not None:
            raise DependencyUnavailable("broker") from error
        # The message did get through: a worker has claimed the call, so its reply will come.
