"""A model provider for tests: a real server that speaks OpenAI's chat completions, well or badly.

What it says at OpenAI's other endpoints is in tests/support/fake_endpoints.py; errors and delays are the same there.

    python -m tests.support.fake_provider --port 8100

How it behaves is the first segment of the path before `/v1`; further segments only tell tests apart:

    /ok/v1  /ok/some-test/v1            answers
    /slow-5s/v1                         answers after five seconds
    /held/some-test/v1                  answers once POST /_release/held/some-test has come
    /timeout/v1                         never answers
    /status-429/v1                      any error status, in OpenAI's shape
    /limited-7s/v1                      429 with "Retry-After: 7"
    /recovers-2/some-test/v1            500 twice, then answers
    /content-policy/v1  /context-window/v1   the 400s that LiteLLM has classes for
    /echo/v1                            answers with the request's body, as JSON
    /only-0123456789abcdef/v1           answers who has the key of this fingerprint, 401 to others
    /tool-call/v1                       answers by calling the first tool of the request
    /garbage/v1                         200 and a page of HTML
    /empty/v1                           200 without a choice, but with usage
    /drop/v1                            closes the connection

With `"stream": true` it streams; tests/support/fake_streams.py has the behaviours of that.

Without such a segment (`/v1`), the request's model is the behaviour. `GET /_counts` tells how many requests came
under each path so far, `GET /_gone` how many clients left before the end of a body that was streamed. Errors hold
a URL, a key and the model's name, so that a test sees where they leak.
"""

import argparse
import asyncio
import hashlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support import fake_endpoints, fake_streams

PROMPT_TOKENS = 11
COMPLETION_TOKENS = 7
ANSWER = "Here is the analysis."
LEAKED_URL = "https://internal-gateway.provider.example/v1/deployments"
LEAKED_KEY = "sk-provider-0123456789abcdef"

USAGE = {
    "prompt_tokens": PROMPT_TOKENS,
    "completion_tokens": COMPLETION_TOKENS,
    "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
}
OTHER_ENDPOINTS = ("completions", "embeddings", "responses")
#: How a behaviour's name begins that is not streamed, though it was asked for.
NEVER_STREAMED = {
    "status",
    "content",
    "context",
    "garbage",
    "empty",
    "drop",
    "timeout",
    "held",
    "slow",
    "whole",
    "limited",
}
REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    409: "Conflict",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
ERROR_TYPES = {
    400: ("invalid_request_error", None),
    401: ("authentication_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}


class Dropped(Exception):
    """Close the connection without an answer."""


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    path: str
    body: Any
    key: str = ""


@dataclass(frozen=True)
class Answer:
    """What goes out."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    retry_after: str = ""

    def encode(self) -> bytes:
        head = (
            f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Status')}\r\n"
            + (f"retry-after: {self.retry_after}\r\n" if self.retry_after else "")
            + f"content-type: {self.content_type}\r\ncontent-length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


def as_json(body: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(body).encode(), status)


def completion(model: str, choices: bool = True, content: str | None = ANSWER, tool: str | None = None) -> Answer:
    """A chat completion, with or without its choice, with text or a tool call in it."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if tool is not None:
        call = {"id": "call_1", "type": "function", "function": {"name": tool, "arguments": '{"city": "Oslo"}'}}
        message["tool_calls"] = [call]
    finish_reason = "stop" if tool is None else "tool_calls"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    return as_json(
        {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": model,
            "choices": [choice] if choices else [],
            "usage": USAGE,
        }
    )


def error(status: int, model: str, code: str | None = None, text: str = "") -> Answer:
    """An error in OpenAI's shape that says far too much."""
    error_type, default_code = ERROR_TYPES.get(status, ("server_error", None))
    text = text or f"Fake error {status}"
    message = f"{text} (model '{model}' at {LEAKED_URL} with key {LEAKED_KEY})"
    return as_json(
        {"error": {"message": message, "type": error_type, "param": None, "code": code or default_code}}, status
    )


def fingerprint(key: str) -> str:
    """Of a key, for a path that must not hold the key itself."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Streamed:
    """What goes out piece by piece."""

    name: str
    pieces: AsyncIterator[bytes]
    content_type: str

    def head(self) -> bytes:
        return f"HTTP/1.1 200 OK\r\ncontent-type: {self.content_type}\r\ntransfer-encoding: chunked\r\n\r\n".encode()


@dataclass
class Provider:
    """The server's state: what came, and who is held."""

    counts: Counter[str] = field(default_factory=Counter)
    gone: Counter[str] = field(default_factory=Counter)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())

    async def answer(self, request: Request) -> Answer | Streamed:
        """Raises Dropped."""
        if request.path == "/_counts":
            return as_json(self.counts)
        if request.path == "/_gone":
            return as_json(self.gone)
        if request.path.startswith("/_release/"):
            self.gate(request.path.removeprefix("/_release/")).set()
            return as_json({})
        where, separator, endpoint = request.path.partition("/v1/")
        is_chat = endpoint == "chat/completions"
        if not separator or not isinstance(request.body, dict) or not (is_chat or endpoint in OTHER_ENDPOINTS):
            return error(404, "?", text=f"No such path: {request.path}")
        model = str(request.body.get("model"))
        name = where.strip("/") or model
        self.counts[name] += 1
        if not is_chat and name.partition("-")[0].partition("/")[0] not in NEVER_STREAMED:
            return self.other(endpoint, name, request.body)
        if (streamed := self.streamed(name, request.body)) is not None:
            return streamed
        if name.startswith("echo"):
            return completion(model, content=json.dumps(request.body))
        if name.startswith("tool-call"):
            return completion(model, content=None, tool=str(request.body["tools"][0]["function"]["name"]))
        if name.startswith("only-") and fingerprint(request.key) != name.partition("/")[0].removeprefix("only-"):
            return error(401, model)
        return await self.behave(name, model)

    def other(self, endpoint: str, name: str, body: dict[str, Any]) -> Answer | Streamed:
        """At an endpoint that is no chat."""
        if body.get("stream"):
            return Streamed(name, fake_endpoints.pieces(endpoint, body), "text/event-stream")
        return as_json(fake_endpoints.body(endpoint, body))

    def streamed(self, name: str, body: dict[str, Any]) -> Streamed | None:
        """What is streamed: where it was asked for, unless the behaviour knows better."""
        behaviour = name.partition("/")[0]
        kind = behaviour.partition("-")[0]
        if kind in fake_streams.ENDLESS:
            content_type = "text/event-stream" if body.get("stream") else "application/json"
            return Streamed(name, fake_streams.pieces(behaviour, body), content_type)
        if not body.get("stream") or kind in NEVER_STREAMED:
            return None
        return Streamed(name, fake_streams.pieces(behaviour, body), "text/event-stream")

    async def behave(self, name: str, model: str) -> Answer:
        """Raises Dropped."""
        kind, _, argument = name.partition("/")[0].partition("-")
        behaviours: dict[str, Callable[[], Awaitable[Answer]]] = {
            "slow": lambda: self.slow(float(argument.rstrip("s")), model),
            "held": lambda: self.held(name, model),
            "timeout": lambda: self.slow(3600, model),
            "drop": self.drop,
        }
        if kind in behaviours:
            return await behaviours[kind]()
        if kind == "status":
            return error(int(argument), model)
        if kind == "limited":
            return replace(error(429, model), retry_after=argument.rstrip("s"))
        if kind == "recovers" and self.counts[name] <= int(argument):
            return error(500, model)
        return self.at_once(name.partition("/")[0], model)

    def at_once(self, behaviour: str, model: str) -> Answer:
        match behaviour:
            case "content-policy":
                text = "Your request was rejected as a result of our safety system"
                return error(400, model, "content_policy_violation", text)
            case "context-window":
                text = "This model's maximum context length is 8192 tokens"
                return error(400, model, "context_length_exceeded", text)
            case "garbage":
                page = f"<html><body>{model} is being upgraded, see {LEAKED_URL}</body></html>"
                return Answer(page.encode(), content_type="text/html")
            case "empty":
                return completion(model, choices=False)
            case _:
                return completion(model)

    async def slow(self, delay_s: float, model: str) -> Answer:
        await asyncio.sleep(delay_s)
        return completion(model)

    async def held(self, name: str, model: str) -> Answer:
        await self.gate(name).wait()
        return completion(model)

    async def drop(self) -> Answer:
        raise Dropped

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        try:
            while (request := await read_request(reader)) is not None:
                answer = await self.answer(request)
                if isinstance(answer, Streamed):
                    await self.stream(answer, reader, writer)
                    continue
                writer.write(answer.encode())
                await writer.drain()
        except (Dropped, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def stream(self, answer: Streamed, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send it, or count the client as gone. Raises Dropped."""

        async def send() -> None:
            writer.write(answer.head())
            async for piece in answer.pieces:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            await writer.drain()

        sending = asyncio.ensure_future(send())
        # Nobody sends a second request before the first one's end, so whatever comes is the connection's end.
        leaving = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        has_left = not sending.done()
        for task in (sending, leaving):
            task.cancel()
        results = await asyncio.gather(sending, leaving, return_exceptions=True)
        if has_left or isinstance(results[0], ConnectionError):
            self.gone[answer.name] += 1
        if has_left or results[0] is not None:
            raise Dropped


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request; None at the connection's end."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *headers = head.split("\r\n")
    method, path, _ = first.split(" ")
    length, key = 0, ""
    for header in headers:
        name, _, value = header.partition(":")
        if name.lower() == "content-length":
            length = int(value)
        if name.lower() == "authorization":
            key = value.strip().removeprefix("Bearer ")
    raw = await reader.readexactly(length) if length else b""
    return Request(method, path, json.loads(raw) if raw else None, key)


async def run(port: int) -> None:
    server = await asyncio.start_server(Provider().serve, "127.0.0.1", port, backlog=2048)
    print("listening", flush=True)  # noqa: T201 (for the log)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port: int = parser.parse_args().port
    try:
        asyncio.run(run(port))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
