"""A model provider that costs next to nothing: OpenAI's chat completions on a bare asyncio protocol.

    python -m benchmarks.provider --port 9100

The first segment of the path says how it behaves; a few bytes of text are all that is read of a request.

    /latency-50/v1/chat/completions   answers after 50 ms; with "stream": true, five tokens at once after 50 ms
    /tokens-250-at-50/v1/...          streams 250 tokens, 50 each second

A streamed token is the time at which it was sent, on the machine's monotonic clock, so that whoever gets it
knows how long it was on its way. `GET /_count` tells how many chat completions have been asked for.
"""

import argparse
import asyncio
import json
import re
import time
from dataclasses import dataclass, field

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
STREAM = re.compile(rb'"stream": ?true')
TOKENS_AT_ONCE = 5
#: What every answer holds, so that a load generator sees that it came from here.
MARKER = "Here is the analysis of the document."
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def _head(content_type: str, framing: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n{framing}\r\n\r\n".encode()


def _completion() -> bytes:
    message = {"role": "assistant", "content": MARKER}
    body = json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "gpt-4o-mini",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": USAGE,
        }
    ).encode()
    return _head("application/json", f"content-length: {len(body)}") + body


def _chunk(text: str) -> bytes:
    """One chunk of HTTP's chunked encoding."""
    return f"{len(text):x}\r\n{text}\r\n".encode()


def _event(choices: list[object], **more: object) -> str:
    head = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-4o-mini"}
    return f"data: {json.dumps({**head, 'choices': choices, **more})}\n\n"


ANSWER = _completion()
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
STREAM_HEAD = _head("text/event-stream", "transfer-encoding: chunked")
TOKEN_BEFORE, TOKEN_AFTER = _event(
    [{"index": 0, "delta": {"content": "TOKEN"}, "logprobs": None, "finish_reason": None}]
).split("TOKEN")
LAST_EVENT = _event([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}])
USAGE_EVENT = _event([], usage=USAGE)


@dataclass
class Counter:
    """Of the chat completions that were asked for."""

    requests: int = 0


@dataclass
class Connection(asyncio.Protocol):
    """One client's connection; one request at a time."""

    counter: Counter
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport = field(init=False)
    buffer: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        head_end = self.buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self.buffer[:head_end]
        if length := LENGTH.search(head):
            is_complete = len(self.buffer) >= head_end + 4 + int(length[1])
        else:
            is_complete = not CHUNKED.search(head) or self.buffer.endswith(b"0\r\n\r\n")
        if is_complete:
            request, self.buffer = self.buffer, b""
            self._answer(request.split(b" ", 2)[1].decode(), request)

    def _answer(self, path: str, request: bytes) -> None:
        if path == "/_count":
            body = str(self.counter.requests).encode()
            self.transport.write(_head("text/plain", f"content-length: {len(body)}") + body)
            return
        kind, _, argument = path[1:].partition("/")[0].partition("-")
        if kind not in ("tokens", "latency"):
            self.transport.write(NOT_FOUND)
            return
        self.counter.requests += 1
        if kind == "tokens":
            count, _, rate = argument.partition("-at-")
            self._stream(request, int(count), interval_s=1 / int(rate), wait_s=0)
            return
        wait_s = int(argument) / 1000
        if STREAM.search(request):
            self._stream(request, TOKENS_AT_ONCE, interval_s=0, wait_s=wait_s)
        elif wait_s:
            self.loop.call_later(wait_s, self.transport.write, ANSWER)
        else:
            self.transport.write(ANSWER)

    def _stream(self, request: bytes, count: int, *, interval_s: float, wait_s: float) -> None:
        end = LAST_EVENT + (USAGE_EVENT if b"include_usage" in request else "") + "data: [DONE]\n\n"
        last = _chunk(end) + b"0\r\n\r\n"
        began = self.loop.time() + wait_s

        def send(number: int) -> None:
            if self.transport.is_closing():
                return
            if number == count:
                self.transport.write(last)
                return
            token = _chunk(f"{TOKEN_BEFORE}@{time.monotonic():.6f}@ {TOKEN_AFTER}")
            self.transport.write(token if number else STREAM_HEAD + token)
            if interval_s:
                self.loop.call_at(began + (number + 1) * interval_s, send, number + 1)
            else:
                send(number + 1)

        self.loop.call_at(began, send, 0)


async def serve(port: int) -> None:
    """Until the process is stopped."""
    counter, loop = Counter(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(counter, loop), "127.0.0.1", port, backlog=4096)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(parser.parse_args().port))
