"""What travels between web and workers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from jobs.callpath.idempotency import CallKey


@dataclass(frozen=True)
class CallMessage:
    """A call, on its way to a worker. One that is stored has its request in the database and nobody who waits."""

    call_id: UUID
    messages: list[dict[str, Any]] | None = field(default=None, repr=False)
    parameters: dict[str, Any] | None = None
    reply_to: str | None = None
    streams: bool = False
    ends_job: UUID | None = None
    key: CallKey | None = None
    #: The OpenAI endpoint whose answer is wanted as it is; empty for llm-call's.
    endpoint: str = ""
    #: Whoever ends it settles it with the limiter.
    is_limited: bool = False

    @property
    def is_stored(self) -> bool:
        """Whether it is an asynchronous call."""
        return self.reply_to is None

    def encode(self) -> dict[str, Any]:
        """As a task's keyword arguments."""
        if self.is_stored:
            return {"call_id": str(self.call_id), "is_limited": self.is_limited}
        return {
            "call_id": str(self.call_id),
            "messages": self.messages,
            "parameters": self.parameters,
            "reply_to": self.reply_to,
            "streams": self.streams,
            "ends_job": str(self.ends_job) if self.ends_job else None,
            "key": [self.key.scope, self.key.key] if self.key else None,
            "endpoint": self.endpoint,
            "is_limited": self.is_limited,
        }

    @classmethod
    def decode(cls, fields: Mapping[str, Any]) -> "CallMessage":
        """The reverse."""
        ends_job, key = fields.get("ends_job"), fields.get("key")
        return cls(
            call_id=UUID(fields["call_id"]),
            messages=fields.get("messages"),
            parameters=fields.get("parameters"),
            reply_to=fields.get("reply_to"),
            streams=fields.get("streams", False),
            ends_job=UUID(ends_job) if ends_job else None,
            key=CallKey(*key) if key else None,
            endpoint=fields.get("endpoint", ""),
            is_limited=fields.get("is_limited", False),
        )


@dataclass(frozen=True)
class Delta:
    """A piece of a streamed answer. `number` counts from 0, so that a lost one is missed.

    An OpenAI client's has the provider's chunks instead of what is in them.
    """

    call_id: UUID
    number: int
    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    chunks: list[dict[str, Any]] | None = None

    def encode(self) -> bytes:
        """As it travels."""
        fields = ["delta", str(self.call_id), self.number, self.content, self.tool_calls, self.chunks]
        return json.dumps(fields).encode()


@dataclass(frozen=True)
class Reply:
    """What became of a call. `content` is the model's answer, kept nowhere else unless somebody asked for that.

    `state` is a Call's. `deltas` is how many came before. `job` is what the call's end did to its job, where the two
    end together. `body` is the provider's answer as an OpenAI client gets it, in one piece.
    """

    call_id: UUID
    state: str
    cause: str = ""
    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_ms: int = 0
    deltas: int = 0
    job: dict[str, Any] | None = None
    body: dict[str, Any] | None = None

    def encode(self) -> bytes:
        """As it travels and is stored."""
        return json.dumps({**vars(self), "call_id": str(self.call_id)}).encode()

    @classmethod
    def decode(cls, raw: Any) -> "Reply":
        """The reverse."""
        fields: Mapping[str, Any] = json.loads(raw)
        return cls(**{**fields, "call_id": UUID(fields["call_id"])})


def decode(raw: Any) -> Delta | Reply:
    """A message from a worker."""
    fields = json.loads(raw)
    if isinstance(fields, list):
        _, call_id, number, *piece = fields
        return Delta(UUID(call_id), number, *piece)
    return Reply(**{**fields, "call_id": UUID(fields["call_id"])})
