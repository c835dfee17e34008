"""The worker's side of a call: claim it, try the group's models in order, record the outcome, reply."""

import asyncio
import json
import logging
import os
import socket
import time
import uuid
from dataclasses import asdict
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings

from config.foundation import async_database, encryption
from config.foundation.errors import DependencyUnavailable
from jobs.callpath import idempotency as idempotency_keys
from jobs.callpath.fallback import Outcome, milliseconds_since, try_in_order
from jobs.callpath.replies import Reply, ReplySender
from jobs.callpath.statements import CLAIM_CALL, HEARTBEAT, LEAVE, RECORD_OUTCOME
from jobs.errors import Failure, failure_text
from modelgroups.gateway import chat
from modelgroups.gateway.types import ChatAnswer, ChatRequest, Target

logger = logging.getLogger(__name__)

#: How often, and how long apart, recording an outcome is tried while the database is away.
RECORD_TRIES = 30
RECORD_PAUSE_S = 1.0


class Runner:
    """Runs the calls of one worker process, all on one event loop."""

    def __init__(self) -> None:
        self.worker_id = uuid.uuid4()
        self._replies = ReplySender()
        self._heartbeat = asyncio.create_task(self._beat())

    async def close(self) -> None:
        """Say good-bye: replies out, heartbeat gone, so that nobody waits for it to grow old."""
        self._heartbeat.cancel()
        await asyncio.gather(self._heartbeat, return_exceptions=True)
        await self._replies.close()
        await chat.close()
        try:
            await async_database.fetch_all(LEAVE, {"worker_id": self.worker_id})
        except DependencyUnavailable:
            logger.warning("the database was away when this worker left")
        await async_database.close()

    async def run(
        self,
        *,
        call_id: str,
        messages: list[dict[str, Any]],
        parameters: dict[str, Any],
        reply_to: str,
        idempotency: dict[str, str] | None = None,
    ) -> None:
        """Run one call to its end. A call that is not to be had (any more) is left alone."""
        claimed = await async_database.fetch_all(CLAIM_CALL, {"call_id": UUID(call_id), "worker_id": self.worker_id})
        if not claimed:
            logger.info("call %s was not to be claimed", call_id)
            return
        started = time.monotonic()
        try:
            outcome = await try_in_order(
                targets(claimed),
                partial(_ask, ChatRequest(messages=messages, parameters=parameters)),
                deadline=started + claimed[0]["remaining_s"],
            )
        except Exception:
            logger.exception("call %s stumbled over a bug", call_id)
            outcome = Outcome(attempts=[], cause=Failure.INTERNAL)
        latency_ms = milliseconds_since(started)
        await self._record(UUID(call_id), outcome, latency_ms)
        reply = _reply(UUID(call_id), outcome, latency_ms)
        if idempotency is not None:
            await self._keep(idempotency_keys.CallKey(**idempotency), reply)
        self._replies.send(reply_to, reply)

    async def _keep(self, key: idempotency_keys.CallKey, reply: Reply) -> None:
        """Store an answer under its Idempotency-Key, or give the key back."""
        try:
            if reply.state == "succeeded":
                await idempotency_keys.store(key, reply.encode())
            else:
                await idempotency_keys.give_back(key)
        except DependencyUnavailable:
            # The outcome is on record; only a replay of the answer is lost.
            logger.warning("the reply of call %s could not be stored for replay", reply.call_id)

    async def _record(self, call_id: UUID, outcome: Outcome, latency_ms: int) -> None:
        """Write the outcome down, however long the database is away: what was spent must not be forgotten."""
        for _ in range(RECORD_TRIES):
            try:
                await async_database.fetch_one(RECORD_OUTCOME, outcome_parameters(call_id, outcome, latency_ms))
                return
            except DependencyUnavailable:
                logger.warning("the outcome of call %s waits for the database", call_id)
                await asyncio.sleep(RECORD_PAUSE_S)
        logger.error("the outcome of call %s is lost: %s", call_id, outcome.attempts)

    async def _beat(self) -> None:
        name = f"{socket.gethostname()}:{os.getpid()}"
        while True:
            try:
                await async_database.fetch_all(HEARTBEAT, {"worker_id": self.worker_id, "name": name})
            except DependencyUnavailable:
                logger.warning("no heartbeat: the database is away")
            except Exception:
                logger.exception("no heartbeat")
            await asyncio.sleep(settings.WORKER_HEARTBEAT_S)


async def start() -> Runner:
    """A runner, ready to run: needs the event loop that it will live on."""
    await chat.start()
    return Runner()


async def _ask(request: ChatRequest, target: Target, timeout_s: float) -> ChatAnswer:
    return await chat.ask(target, request, timeout_s=timeout_s)


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


def outcome_parameters(call_id: UUID, outcome: Outcome, latency_ms: int) -> dict[str, Any]:
    """The parameters of RECORD_OUTCOME. Cost and tokens are sums over all attempts."""
    attempts = [
        {**asdict(attempt), "cost_usd": _text(attempt.cost_usd), "started_at": attempt.started_at.isoformat()}
        for attempt in outcome.attempts
    ]
    return {
        "call_id": call_id,
        "attempts": json.dumps(attempts),
        "state": outcome.state,
        "cause": outcome.cause,
        "error": failure_text(outcome.cause) if outcome.answer is None else "",
        "latency_ms": latency_ms,
        "finish_reason": (outcome.answer.finish_reason or "") if outcome.answer else "",
        "prompt_tokens": sum(attempt.prompt_tokens for attempt in outcome.attempts),
        "completion_tokens": sum(attempt.completion_tokens for attempt in outcome.attempts),
        "cost_usd": sum((attempt.cost_usd or Decimal(0) for attempt in outcome.attempts), Decimal(0)),
    }


def _text(cost_usd: Decimal | None) -> str | None:
    return None if cost_usd is None else format(cost_usd, "f")


def _reply(call_id: UUID, outcome: Outcome, latency_ms: int) -> Reply:
    answer = outcome.answer
    if answer is None:
        return Reply(call_id=call_id, state="failed", cause=outcome.cause, latency_ms=latency_ms)
    return Reply(
        call_id=call_id,
        state="succeeded",
        content=answer.content,
        tool_calls=answer.tool_calls,
        finish_reason=answer.finish_reason,
        tokens=sum(attempt.prompt_tokens + attempt.completion_tokens for attempt in outcome.attempts),
        latency_ms=latency_ms,
    )
