"""What the fake provider streams: behaviours for requests with `"stream": true`, and bodies without a sane end.

    /tokens-50-at-20/v1   50 tokens, 20 each second, and a proper end
    /cut-10/v1            10 tokens, then the connection breaks
    /end-10/v1            10 tokens, then the body just ends
    /hang-10/v1           10 tokens, then silence
    /error-10/v1          10 tokens, then an error
    /no-usage/v1          a proper end without usage
    /whole/v1             an answer in one piece of JSON, whatever was asked
    /trickle/v1           one byte a second, streamed or not
    /huge/v1              100 MB of one line, streamed or not
    /tool-call/v1         a tool call in fragments

Anything else streams the usual answer, word by word.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
WORDS = ["Here", " is", " the", " analysis", "."]
HUGE_BYTES = 100 * 1024 * 1024
#: Never meant to pass.
FOREVER_S = 3600

#: Bodies for which it does not matter whether they were to be streamed.
ENDLESS = {"trickle", "huge"}


class Broken(Exception):
    """Close the connection in the middle of the body."""


def event(data: Any) -> bytes:
    return b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"


def chunk(model: str, delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    body = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model}
    return event({**body, "choices": [choice], **more})


def end(body: dict[str, Any], *, usage: bool = True, finish_reason: str = "stop") -> list[bytes]:
    model = str(body["model"])
    last = [chunk(model, {}, finish_reason)]
    if usage and (body.get("stream_options") or {}).get("include_usage"):
        head = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model}
        last.append(event({**head, "choices": [], "usage": USAGE}))
    return [*last, event(b"[DONE]")]


def pieces(behaviour: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    """The body, piece by piece. Raises Broken."""
    kind, _, argument = behaviour.partition("-")
    return BODIES.get(kind, words)(argument, body)


async def words(argument: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    for word in WORDS:
        yield chunk(str(body["model"]), {"content": word})
    for piece in end(body, usage=argument != "usage"):
        yield piece


async def trickle(_: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    text = b'{"choices": [' + b" " * FOREVER_S
    for number in (b"data: " if body.get("stream") else b"") + text:
        yield bytes([number])
        await asyncio.sleep(1)


async def huge(_: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    yield (b"data: " if body.get("stream") else b"") + b'{"choices": [{"delta": {"content": "'
    for _piece in range(HUGE_BYTES // 65536):
        yield b"x" * 65536


async def tokens(argument: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    count, _, rate = argument.partition("-at-")
    async for piece in paced(str(body["model"]), int(count), float(rate)):
        yield piece
    for piece in end(body):
        yield piece


async def cut(argument: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    async for piece in paced(str(body["model"]), int(argument), 100):
        yield piece
    raise Broken


async def end_early(argument: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    async for piece in paced(str(body["model"]), int(argument), 100):
        yield piece


async def hang(argument: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    async for piece in paced(str(body["model"]), int(argument), 100):
        yield piece
    await asyncio.sleep(FOREVER_S)


async def error(argument: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    async for piece in paced(str(body["model"]), int(argument), 100):
        yield piece
    yield event({"error": {"message": "overloaded at https://internal.example", "code": 503}})


async def paced(model: str, count: int, rate: float) -> AsyncIterator[bytes]:
    """Tokens at their times, whenever the last one was taken."""
    started = asyncio.get_running_loop().time()
    yield chunk(model, {"role": "assistant", "content": ""})
    for number in range(count):
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        yield chunk(model, {"content": f" t{number}"})


async def tool_call(_: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    model, name = str(body["model"]), str(body["tools"][0]["function"]["name"])
    for fragment in (
        {"id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}},
        {"function": {"arguments": '{"city": '}},
        {"function": {"arguments": '"Oslo"}'}},
    ):
        yield chunk(model, {"tool_calls": [{"index": 0, **fragment}]})
    for piece in end(body, finish_reason="tool_calls"):
        yield piece


#: By the first word of a behaviour's name.
BODIES: dict[str, Callable[[str, dict[str, Any]], AsyncIterator[bytes]]] = {
    "trickle": trickle,
    "huge": huge,
    "tokens": tokens,
    "cut": cut,
    "end": end_early,
    "hang": hang,
    "error": error,
    "tool": tool_call,
}
