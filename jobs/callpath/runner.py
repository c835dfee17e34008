"""The worker's side of a call: claim it, try the group's models in order, record the outcome, reply."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import DatabaseError

from config.foundation import async_database, encryption
from config.foundation.batching import Batcher
from config.foundation.errors import DependencyUnavailable, DomainError
from config.foundation.failpoints import failpoint
from jobs.callpath import content
from jobs.callpath.bulletins import CANCELLED, COOLING, RESTING, Bulletins
from jobs.callpath.cooldown import CoolDowns
from jobs.callpath.delivery import Delivery
from jobs.callpath.fallback import Fallback, Outcome, Send, milliseconds_since
from jobs.callpath.idempotency import CallKey
from jobs.callpath.jobs_of_calls import job_part
from jobs.callpath.limits.limiter import Limiter
from jobs.callpath.messages import CallMessage, Reply
from jobs.callpath.presence import Presence
from jobs.callpath.proxied import by_proxy, route_of, through_proxy
from jobs.callpath.replies import ReplySender
from jobs.callpath.statements import CLAIM_CALLS, RECORD_OUTCOMES, STORED_REQUEST, record_one_outcome
from jobs.callpath.targets import target_of
from jobs.errors import Failure, failure_text
from jobs.services.jobs import end_with_call
from modelgroups.gateway import chat
from modelgroups.gateway.types import ChatAnswer, ChatRequest, Target

logger = logging.getLogger(__name__)

#: How often, and how long apart, a call's statement is tried while the database is away.
DATABASE_TRIES = 30
DATABASE_PAUSE_S = 1.0

Result = TypeVar("Result")


class Runner:
    """Runs the calls of one worker process, all on one event loop."""

    def __init__(self) -> None:
        self._presence = Presence("worker")
        self._replies = ReplySender()
        self._limiter = Limiter()
        #: The calls that run here, and of them the streams.
        self._running: set[UUID] = set()
        self._streams: dict[UUID, Delivery] = {}
        self._cool_downs = CoolDowns(self._tell_of_rest)
        self._bulletins = Bulletins({CANCELLED: self._abandon, COOLING: self._cool_downs.hear})
        self._claim = Batcher(self._claim_all, one_by_one=async_database.RowsLocked)

    async def close(self) -> None:
        """Send the replies, and say good-bye."""
        await self._bulletins.close()
        await self._replies.close()
        await self._limiter.close()
        await chat.close()
        await self._presence.leave()
        await async_database.close()

    async def run(self, **call: Any) -> None:
        """Run one call (a CallMessage) to its end. A call that is not to be had (any more) is left alone."""
        message = CallMessage.decode(call)
        failpoint("worker.received")
        if message.call_id in self._running:
            logger.info("call %s was not to be claimed: it runs here", message.call_id)
            return
        delivery = Delivery(message, self._replies)
        self._running.add(message.call_id)
        if message.streams:
            # Before it is claimed: from then on, a client that leaves is heard of here only.
            self._streams[message.call_id] = delivery
        try:
            if claimed := await _patiently(partial(self._claim, message.call_id)):
                await self._run(message, claimed, delivery)
            else:
                logger.info("call %s was not to be claimed", message.call_id)
        finally:
            self._streams.pop(message.call_id, None)
            self._running.discard(message.call_id)

    async def _run(self, message: CallMessage, claimed: list[async_database.Row], delivery: Delivery) -> None:
        call_id = message.call_id
        failpoint("worker.claimed")
        started = time.monotonic()
        try:
            message = await _with_request(message)
            outcome = await self._ask_models(message, claimed, started, delivery)
        except Exception:
            logger.exception("call %s stumbled over a bug", call_id)
            outcome = Outcome(attempts=[], cause=Failure.INTERNAL)
        failpoint("worker.answered")
        reply = replace(_reply(call_id, outcome, milliseconds_since(started)), deltas=delivery.deltas)
        recorded = await self._record(message, outcome, reply, keep_s=claimed[0]["keep_content_s"])
        failpoint("worker.recorded")
        if message.is_limited:
            # Before its client hears of it, who may send the next one at once.
            tokens = None if outcome.cause == Failure.INTERNAL else reply.prompt_tokens + reply.completion_tokens
            await self._limiter.settle(call_id, tokens=tokens)
        if recorded is not None and recorded["state"] != reply.state:
            # The sweeper took us for dead and was faster: what is on record is what is said.
            reply = Reply(call_id, state=recorded["state"], cause=recorded["cause"], deltas=reply.deltas)
        if message.ends_job is not None:
            reply = replace(reply, job=await self._end_job(message.ends_job))
            failpoint("worker.job_ended")
        delivery.end(reply)
        failpoint("worker.replied")

    async def _ask_models(
        self, message: CallMessage, claimed: list[async_database.Row], started: float, delivery: Delivery
    ) -> Outcome:
        request = ChatRequest(message.messages or [], message.parameters or {}, endpoint=message.endpoint)
        deadline = started + min(claimed[0]["remaining_s"], settings.CALL_DEADLINE_S)
        send: Send = partial(_stream, request, delivery, deadline) if message.streams else partial(_ask, request)
        if settings.LITELLM_PROXY_URL:
            send = through_proxy(send, call_id=message.call_id)
        return await Fallback(send, self._cool_downs, deadline=deadline).run(targets(claimed))

    async def _claim_all(self, call_ids: list[UUID]) -> list[list[async_database.Row]]:
        """For each call the rows of CLAIM_CALLS, none where it is not to be had."""
        parameters = {"call_ids": call_ids, "process_id": self._presence.id}
        claimed: dict[UUID, list[async_database.Row]] = {}
        for row in await async_database.fetch_all(CLAIM_CALLS, parameters):
            claimed.setdefault(row["call_id"], []).append(row)
        # A message that came twice at once is one call: the first of the two has it.
        return [claimed.pop(call_id, []) for call_id in call_ids]

    def _tell_of_rest(self, text: str) -> None:
        """The other workers at once, and who looks at the console."""
        self._bulletins.say(COOLING, text)
        said = json.loads(text)
        self._bulletins.keep(RESTING, said["model"], str(said["until"]), ttl_s=settings.MAX_COOL_DOWN_S)

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

    async def _record(
        self, message: CallMessage, outcome: Outcome, reply: Reply, *, keep_s: int | None
    ) -> async_database.Row | None:
        """Write the outcome down, however long the database is away: what was spent must not be forgotten.

        With it what was asked and answered, where the team wants it kept (`keep_s`) or somebody will fetch it, and
        the answer under its Idempotency-Key. Returns the call's state and cause as they are then, None where unknown.
        """
        row = outcome_row(outcome, reply)
        record, again = partial(_record_outcome, row), partial(_record_alone, row)
        if keep_s is not None or message.is_stored or message.key is not None:
            record = again = partial(_record_with_content, row, message, reply, keep_s)
        try:
            return await _patiently(record, again=again)
        except DependencyUnavailable:
            logger.error("the outcome of call %s is lost: %s", message.call_id, outcome.attempts)
        except psycopg.errors.UniqueViolation:
            # The attempts are there: it was recorded, and the database went away before it could say so.
            logger.warning("the outcome of call %s was recorded already", message.call_id)
        return None


async def _patiently(
    work: Callable[[], Awaitable[Result]], *, again: Callable[[], Awaitable[Result]] | None = None
) -> Result:
    """Do it, or from the second time on `again`, however long the database is away. Raises DependencyUnavailable."""
    for _ in range(DATABASE_TRIES):
        try:
            return await work()
        except DependencyUnavailable as error:
            logger.warning("what a call needs of the database waits: %r", error.__cause__)
            await asyncio.sleep(DATABASE_PAUSE_S)
            work = again or work
    return await work()


async def _record_all(outcomes: list[dict[str, Any]]) -> Sequence[async_database.Row | None]:
    recorded = await async_database.fetch_all(RECORD_OUTCOMES, {"outcomes": json.dumps(outcomes)})
    states = {str(row["id"]): row for row in recorded}
    return [states.get(outcome["call_id"]) for outcome in outcomes]


#: One outcome that cannot be recorded, or whose job somebody keeps locked, is no trouble of the others'.
_record_outcome = Batcher(
    _record_all, one_by_one=(psycopg.IntegrityError, psycopg.DataError, async_database.RowsLocked)
)


async def _record_alone(outcome: dict[str, Any]) -> async_database.Row | None:
    return (await _record_all([outcome]))[0]


async def _record_with_content(
    outcome: dict[str, Any], message: CallMessage, reply: Reply, keep_s: int | None
) -> async_database.Row | None:
    parameters = {"call_id": reply.call_id, "outcomes": json.dumps([outcome])}
    if has_content := keep_s is not None or message.is_stored:
        parameters |= _content_parameters(message, reply, keep_s=keep_s)
    if message.key is not None:
        parameters |= _key_parameters(message.key, reply)
    statement = record_one_outcome(content=has_content, key=message.key is not None)
    return await async_database.fetch_one(statement, parameters)


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
    route = route_of(rows[0])
    return [by_proxy(target_of(row), route) for row in rows if row["model_name"] is not None]


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
    """The kept content's parameters. A failed call without a team that keeps it leaves nothing."""
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


def outcome_row(outcome: Outcome, reply: Reply) -> dict[str, Any]:
    """One of RECORD_OUTCOMES' outcomes, as JSON has it. Cost and tokens are sums over all attempts."""
    attempts = [
        {**vars(attempt), "cost_usd": _text(attempt.cost_usd), "started_at": attempt.started_at.isoformat()}
        for attempt in outcome.attempts
    ]
    return {
        "call_id": str(reply.call_id),
        "attempts": attempts,
        "state": outcome.state,
        "cause": outcome.cause,
        "error": failure_text(outcome.cause) if outcome.answer is None else "",
        "latency_ms": reply.latency_ms,
        "finish_reason": (outcome.answer.finish_reason or "") if outcome.answer else "",
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "cost_usd": _text(sum((attempt.cost_usd or Decimal(0) for attempt in outcome.attempts), Decimal(0))),
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
        body=answer.body if answer else None,
        finish_reason=answer.finish_reason if answer else None,
        prompt_tokens=sum(attempt.prompt_tokens for attempt in outcome.attempts),
        completion_tokens=sum(attempt.completion_tokens for attempt in outcome.attempts),
        latency_ms=latency_ms,
    )
