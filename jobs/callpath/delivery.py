"""The worker's side of an answer's way to the web process that waits for it."""

from dataclasses import replace

from config.foundation.failpoints import failpoint
from jobs.callpath.messages import CallMessage, Delta, Reply
from jobs.callpath.replies import ReplySender
from modelgroups.gateway.streams import ChatStream
from modelgroups.gateway.types import ChatDelta


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
        self._stream = ChatStream(self._pass_on, endpoint=self._message.endpoint)
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
            last = replace(reply, content=None, tool_calls=None, body=None) if self.deltas else reply
            self._replies.send(self._message.reply_to, last)

    def _pass_on(self, piece: ChatDelta) -> None:
        if self._message.reply_to is None:
            raise RuntimeError("a call that streams has somebody who waits")
        failpoint("worker.piece_received")
        delta = Delta(self._message.call_id, self.deltas, piece.content, piece.tool_calls, piece.chunks)
        self.deltas += 1
        self._replies.send(self._message.reply_to, delta)
