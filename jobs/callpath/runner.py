"""The worker's side of a call: claim it, try the group's models in order, record the outcome, reply."""

import asyncio
import contextlib
import json
import logging
import time
from dataclasses import asdict, replace
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError

from config.foundation import async_database, encryption
from config.foundation.errors import DependencyUnavailable, DomainError
from config.foundation.failpoints import failpoint
from jobs.callpath import content
from jobs.callpath.bulletins import CANCELLED, COOLING, Bulletins
from jobs.callpath.cooldown import CoolDowns
from jobs.callpath.delivery import Delivery
from jobs.callpath.fallback import Fallback, Outcome, milliseconds_since
from jobs.callpath.idempotency import CallKey
from jobs.callpath.jobs_of_calls import job_part
from jobs.callpath.messages import CallMessage, Reply
from jobs.callpath.presence import Presence
from jobs.callpath.replies import ReplySender
from jobs.callpath.statements import (
    CLAIM_CALL,
    STORED_REQUEST,
    record_outcome,
)
from jobs.errors import Failure, failure_text
from jobs.services.jobs import end_with_call
from modelgroups.gateway import chat
from modelgroups.gateway.types import ChatAnswer, ChatRequest, Target

logger = logging.getLogger(__name__)

#: How often, and how long apart, recording an outcome is tried while the database is away.
RECORD_TRIES = 30
RECORD_PAUSE_S = 1.0


class Runner:
    """Runs the calls of one worker process, all on one event loop."""

    def __init__(self) -> None:
        self._presence = Presence("worker")
        self._replies = ReplySender()
        #: The streams that run, by their call's id.
        self._streams: dict[UUID, Delivery] = {}
        self._cool_downs = CoolDowns(lambda text: self._bulletins.say(COOLING, text))
        self._bulletins = Bulletins({CANCELLED: self._abandon, COOLING: self._cool_downs.hear})

    async def close(self) -> None:
        """Send the replies, and say good-bye."""
        await self._bulletins.close()
        await self._replies.close()
        await chat.close()
        await self._presence.leave()
        await async_database.close()

    async def run(self, **call: Any) -> None:
        """Run one call (a CallMessage) to its end. A call that is not to be had (any more) is left alone."""
        message = CallMessage.decode(call)
        call_id = message.call_id
        failpoint("worker.received")
        claimed = await async_database.fetch_all(CLAIM_CALL, {"call_id": call_id, "process_id": self._presence.id})
        if not claimed:
            logger.info("call %s was not to be claimed", call_id)
            return
        failpoint("worker.claimed")
        started = time.monotonic()
        delivery = Delivery(message, self._replies)
        if message.streams:
            self._streams[call_id] = delivery
        try:
            message = await _with_request(message)
            outcome = await self._ask_models(message, claimed, started, delivery)
        except Exception:
            logger.exception("call %s stumbled over a bug", call_id)
            outcome = Outcome(attempts=[], cause=Failure.INTERNAL)
        finally:
            self._streams.pop(call_id, None)
        failpoint("worker.answered")
        reply = replace(_reply(call_id, outcome, milliseconds_since(started)), deltas=delivery.deltas)
        await self._record(message, outcome, reply, keep_s=claimed[0]["keep_content_s"])
        failpoint("worker.recorded")
        if message.ends_job is not None:
            reply = replace(reply, job=await self._end_job(message.ends_job))
            failpoint("worker.job_ended")
        delivery.end(reply)
        failpoint("worker.replied")

    async def _ask_models(
        self, message: CallMessage, claimed: list[async_database.Row], started: float, delivery: Delivery
    ) -> Outcome:
        request = ChatRequest(messages=message.messages or [], parameters=message.parameters or {})
        deadline = started + min(claimed[0]["remaining_s"], settings.CALL_DEADLINE_S)
        send = partial(_stream, request, delivery, deadline) if message.streams else partial(_ask, request)
        return await Fallback(send, self._cool_downs, deadline=deadline).run(targets(claimed))

    def _abandon(self, call_id: bytes) -> None:
        """The client of a stream has gone; most often it is another worker's."""
        with contextlib.suppress(ValueError, KeyError):
            self._streams[UUID(call_id.decode())].abandon()

    async def _end_job(self, job_id: UUID) -> dict[str, Any]:
        """What became of the job; where it is still in progress, the sweeper will have to end it."""
        try:
            completion = await async_database.in_thread(partial(end_with_call, job_id=job_id))
        except (DomainError, DatabaseError) as error:
            logger.warning("job %s did not end with its call: %s", job_id, error)
            return {"job_id": str(job_id), "status": "in_progress"}
        return job_part(completion)

    async def _record(self, message: CallMessage, outcome: Outcome, reply: Reply, *, keep_s: int | None) -> None:
        """Write the outcome down, however long the database is away: what was spent must not be forgotten.

        With it what was asked and answered, where the team wants it kept (`keep_s`) or somebody will fetch it, and
        the answer under its Idempotency-Key.
        """
        parameters = outcome_parameters(outcome, reply)
        if has_content := keep_s is not None or message.is_stored:
            parameters |= _content_parameters(message, reply, keep_s=keep_s)
        if message.key is not None:
            parameters |= _key_parameters(message.key, reply)
        statement = record_outcome(content=has_content, key=message.key is not None)
        for _ in range(RECORD_TRIES):
            try:
                await async_database.fetch_one(statement, parameters)
                return
            except DependencyUnavailable:
                logger.warning("the outcome of call %s waits for the database", message.call_id)
                await asyncio.sleep(RECORD_PAUSE_S)
        logger.error("the outcome of call %s is lost: %s", message.call_id, outcome.attempts)


async def start() -> Runner:
    """A runner, ready to run: needs the event loop that it will live on."""
    await chat.start()
    return Runner()


async def _ask(request: ChatRequest, target: Target, timeout_s: float) -> ChatAnswer:
    failpoint("worker.asking")
    return await chat.ask(target, request, timeout_s=timeout_s)


async def _stream(
    request: ChatRequest, delivery: Delivery, deadline: float, target: Target, timeout_s: float
) -> ChatAnswer:
    failpoint("worker.asking_for_stream")
    deadline_s = deadline - time.monotonic()
    return await chat.stream(target, request, delivery.next_stream(), timeout_s=timeout_s, deadline_s=deadline_s)


def targets(rows: list[async_database.Row]) -> list[Target]:
    """The group's models in the order in which they are tried; none where the group has none."""
    return [
        Target(
            model_name=row["model_name"],
            priority=row["priority"],
            config=row["config"],
            api_key=None if row["api_key_encrypted"] is None else encryption.decrypt(row["api_key_encrypted"]).decode(),
        )
        for row in rows
        if row["model_name"] is not None
    ]


async def _with_request(message: CallMessage) -> CallMessage:
    """An asynchronous call's message with the request that was kept for it."""
    if not message.is_stored:
        return message
    row = await async_database.fetch_one(STORED_REQUEST, {"call_id": message.call_id})
    if row is None or row["request"] is None:
        raise RuntimeError(f"call {message.call_id} has no request")
    messages, parameters = content.decrypt_request(row["request"])
    failpoint("worker.request_read")
    return replace(message, messages=messages, parameters=parameters, ends_job=row["ends_job"])


def _content_parameters(message: CallMessage, reply: Reply, *, keep_s: int | None) -> dict[str, Any]:
    """What RECORD_OUTCOME_AND_CONTENT has more. A failed call without a team that keeps it leaves nothing."""
    request = None
    if keep_s is not None:
        request = content.encrypt_request(message.messages or [], message.parameters or {})
    has_answer = reply.state == "succeeded"
    return {
        "content": request,
        "answer": encryption.encrypt(reply.encode()) if has_answer else None,
        "keep_s": max(keep_s or 0, settings.ASYNC_ANSWER_TTL_S if message.is_stored and has_answer else 0),
    }


def _key_parameters(key: CallKey, reply: Reply) -> dict[str, Any]:
    """Only a success is kept under its key."""
    kept = encryption.encrypt(reply.encode()) if reply.state == "succeeded" else None
    return {"key_scope": key.scope, "key": key.key, "key_reply": kept}


def outcome_parameters(outcome: Outcome, reply: Reply) -> dict[str, Any]:
    """The parameters of RECORD_OUTCOME. Cost and tokens are sums over all attempts."""
    attempts = [
        {**asdict(attempt), "cost_usd": _text(attempt.cost_usd), "started_at": attempt.started_at.isoformat()}
        for attempt in outcome.attempts
    ]
    return {
        "call_id": reply.call_id,
        "attempts": json.dumps(attempts),
        "state": outcome.state,
        "cause": outcome.cause,
        "error": failure_text(outcome.cause) if outcome.answer is None else "",
        "latency_ms": reply.latency_ms,
        "finish_reason": (outcome.answer.finish_reason or "") if outcome.answer else "",
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "cost_usd": sum((attempt.cost_usd or Decimal(0) for attempt in outcome.attempts), Decimal(0)),
    }


def _text(cost_usd: Decimal | None) -> str | None:
    return None if cost_usd is None else format(cost_usd, "f")


def _reply(call_id: UUID, outcome: Outcome, latency_ms: int) -> Reply:
    answer = outcome.answer
    return Reply(
        call_id=call_id,
        state=outcome.state,
        cause=outcome.cause,
        content=answer.content if answer else None,
        tool_calls=answer.tool_calls if answer else None,
        finish_reason=answer.finish_reason if answer else None,
        prompt_tokens=sum(attempt.prompt_tokens for attempt in outcome.attempts),
        completion_tokens=sum(attempt.completion_tokens for attempt in outcome.attempts),
        latency_ms=latency_ms,
    )
