"""A model's answer as it comes: each piece is passed on at once, and all of them are put together.

It reads OpenAI's chunks (`chat.completion.chunk`), which is what LiteLLM makes of every provider's.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modelgroups.gateway.endpoints import as_chat_chunk, has_error
from modelgroups.gateway.errors import AttemptFailed, Cause, cause_of_status
from modelgroups.gateway.types import ChatDelta, short_text

#: The chunk that says that there are no more.
END: Mapping[str, Any] = {}
#: No model calls that many tools in one answer; a number beyond it would be a broken provider's.
MAX_TOOL_CALLS = 1024


class ChatStream:
    """One attempt's answer. `pass_on` is called with each piece, in order, and must not block.

    With an `endpoint` an OpenAI client gets the chunks themselves, from the first on in which something is said: until
    then, another model can answer instead.
    """

    def __init__(self, pass_on: Callable[[ChatDelta], None], *, endpoint: str = "") -> None:
        self._pass_on = pass_on
        self._endpoint = endpoint
        self._held: list[dict[str, Any]] = []
        self._says_more = False
        self._texts: list[str] = []
        self._tool_calls: dict[int, dict[str, Any]] = {}
        self._limit: asyncio.Timeout | None = None
        #: Whether there was an answer at all, be it an empty one.
        self.has_choice = False
        #: Whether the provider has said that this is all.
        self.has_ended = False
        #: Whether a piece has been passed on: from then on, no other model can answer instead.
        self.has_begun = False
        self.finish_reason: str | None = None
        self.reported_usage: Mapping[str, Any] | None = None
        self.is_abandoned = False

    @property
    def content(self) -> str | None:
        """The text so far; None where there is none but tool calls, as in an answer that comes in one piece."""
        text = "".join(self._texts)
        return None if not text and self._tool_calls else text

    @property
    def tool_calls(self) -> list[dict[str, Any]] | None:
        """The tool calls so far, in OpenAI's shape."""
        return [self._tool_calls[index] for index in sorted(self._tool_calls)] or None

    def abandon(self) -> None:
        """The client has gone: stop the model."""
        self.is_abandoned = True
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    def until(self, limit: asyncio.Timeout) -> None:
        """Say what is to be cut short when the client goes."""
        self._limit = limit

    def take(self, chunks: Iterable[Mapping[str, Any]], shown: Iterable[dict[str, Any]] = ()) -> bool:
        """Take what came at once; returns whether it was more than a sign of life. Raises AttemptFailed.

        `shown` is the same as an OpenAI client gets it.
        """
        texts: list[str] = []
        calls: list[dict[str, Any]] = []
        self._held += shown
        self._says_more = False
        try:
            for chunk in chunks:
                self._take(as_chat_chunk(self._endpoint, chunk), texts, calls)
        finally:
            # Also what came at once with an error.
            says_something = bool(texts or calls or (self._endpoint and self._says_more))
            self.has_begun = self.has_begun or says_something
            self._texts += texts
            if self._endpoint:
                self._pass_on_held()
            elif says_something:
                self._pass_on(ChatDelta(content="".join(texts) if texts else None, tool_calls=calls or None))
        return says_something

    def finish(self) -> None:
        """The answer is complete: an OpenAI client gets what is left of it, be nothing said in it."""
        self.has_begun = self.has_begun or bool(self._held)
        self._pass_on_held()

    def _pass_on_held(self) -> None:
        if self.has_begun and self._held:
            held, self._held = self._held, []
            self._pass_on(ChatDelta(chunks=held))

    def _take(self, chunk: Mapping[str, Any], texts: list[str], calls: list[dict[str, Any]]) -> None:
        if chunk is END:
            self.has_ended = True
        if has_error(chunk):
            raise AttemptFailed(_cause(chunk["error"]), error_class="ErrorEvent")
        if isinstance(chunk.get("usage"), dict):
            self.reported_usage = chunk["usage"]
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return
        self.has_choice = True
        self.finish_reason = short_text(choice.get("finish_reason")) or self.finish_reason
        self.has_ended = self.has_ended or self.finish_reason is not None
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        content, tool_calls = delta.get("content"), delta.get("tool_calls")
        # A refusal, a model's reasoning, and whatever else comes up.
        self._says_more = self._says_more or any(value for name, value in delta.items() if name != "role")
        if isinstance(content, str) and content:
            texts.append(content)
        for fragment in tool_calls if isinstance(tool_calls, list) else []:
            if isinstance(fragment, dict):
                calls.append(fragment)
                self._join(fragment)

    def _join(self, fragment: dict[str, Any]) -> None:
        """Add a fragment to its tool call: its arguments come bit by bit, the rest once."""
        index = fragment.get("index", 0)
        if not isinstance(index, int) or not 0 <= index < MAX_TOOL_CALLS:
            raise AttemptFailed(Cause.MALFORMED_ANSWER, error_class="ToolCallIndex")
        call = self._tool_calls.setdefault(
            index, {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
        )
        function = fragment.get("function")
        function = function if isinstance(function, dict) else {}
        if isinstance(fragment.get("id"), str):
            call["id"] = fragment["id"]
        for name in ("name", "arguments"):
            if isinstance(function.get(name), str):
                call["function"][name] += function[name]


def _cause(error: Any) -> Cause:
    """An error in the middle of a stream has no status of its own; some providers put one into its code."""
    code = error.get("code") if isinstance(error, dict) else None
    code = int(code) if isinstance(code, str) and code.isascii() and code.isdigit() else code
    return cause_of_status(code) if isinstance(code, int) and 400 <= code < 600 else Cause.PROVIDER_ERROR


def in_one_piece(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A whole answer as one chunk: some providers do not stream, whatever they are asked."""
    head = {name: answer[name] for name in ("id", "created", "model") if name in answer}
    choices = []
    for choice in answer["choices"] if isinstance(answer.get("choices"), list) else []:
        if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
            continue
        calls = choice["message"].get("tool_calls")
        delta = {
            "content": choice["message"].get("content"),
            "tool_calls": [{"index": index, **call} for index, call in enumerate(calls or []) if isinstance(call, dict)]
            if isinstance(calls, list)
            else None,
        }
        choices.append({"index": choice.get("index", 0), "delta": delta, "finish_reason": choice.get("finish_reason")})
    body = {"choices": choices, "usage": answer.get("usage"), "error": answer.get("error")}
    return {**head, "object": "chat.completion.chunk", **body}
