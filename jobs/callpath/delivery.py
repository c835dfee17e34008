"""The worker's side of an answer's way to the web process that waits for it."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from redis.exceptions import RedisError

from config.foundation.failpoints import failpoint
from jobs.callpath.connections import connect
from jobs.callpath.messages import CallMessage, Delta, Reply
from jobs.callpath.publisher import CANCELLED_CHANNEL
from jobs.callpath.replies import ReplySender
from modelgroups.gateway.streams import ChatStream
from modelgroups.gateway.types import ChatDelta

logger = logging.getLogger(__name__)

RECONNECT_PAUSE_S = 0.2


class Delivery:
    """Where a call's answer goes: to the web process that waits for it, if one does."""

    def __init__(self, message: CallMessage, replies: ReplySender) -> None:
        #: How many pieces of the answer have been sent.
        self.deltas = 0
        self._message = message
        self._replies = replies
        self._stream: ChatStream | None = None
        self._is_abandoned = False

    def next_stream(self) -> ChatStream:
        """Where one attempt's pieces go."""
        self._stream = ChatStream(self._pass_on)
        if self._is_abandoned:
            self._stream.abandon()
        return self._stream

    def abandon(self) -> None:
        """The client has gone."""
        self._is_abandoned = True
        if self._stream is not None:
            self._stream.abandon()

    def end(self, reply: Reply) -> None:
        """The last that is sent. What has been streamed is not repeated."""
        if self._message.reply_to is not None:
            last = replace(reply, content=None, tool_calls=None) if self.deltas else reply
            self._replies.send(self._message.reply_to, last)

    def _pass_on(self, piece: ChatDelta) -> None:
        if self._message.reply_to is None:
            raise RuntimeError("a call that streams has somebody who waits")
        failpoint("worker.piece_received")
        delta = Delta(self._message.call_id, self.deltas, piece.content, piece.tool_calls)
        self.deltas += 1
        self._replies.send(self._message.reply_to, delta)


async def listen_for_cancellations(streams: Mapping[UUID, Delivery]) -> None:
    """Abandon streams whose clients have gone, for ever. What is said while Redis is away is missed."""
    while True:
        try:
            async with connect() as redis, redis.pubsub() as channel:
                await channel.subscribe(CANCELLED_CHANNEL)
                async for message in channel.listen():
                    if message["type"] == "message":
                        _cancel(streams, message["data"])
        except RedisError as error:
            logger.warning("cannot listen for cancelled streams: %s", error)
        await asyncio.sleep(RECONNECT_PAUSE_S)


def _cancel(streams: Mapping[UUID, Delivery], call_id: bytes) -> None:
    # Whatever else might be said there is not for us.
    with contextlib.suppress(ValueError, KeyError):
        streams[UUID(call_id.decode())].abandon()
