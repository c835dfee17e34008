"""What the fake provider answers at OpenAI's other endpoints: completions, embeddings, responses."""

import json
from collections.abc import AsyncIterator
from typing import Any

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
#: By the names that `responses` has for the same.
RESPONSE_USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 18,
}
TEXT = "Here is the analysis."
VECTOR = [0.25, -0.5, 0.125]


def body(endpoint: str, request: dict[str, Any]) -> dict[str, Any] | None:
    """The answer in one piece; None for an endpoint that there is not."""
    model = str(request.get("model"))
    match endpoint:
        case "completions":
            choice = {"index": 0, "text": TEXT, "logprobs": None, "finish_reason": "stop"}
            head = {"id": "cmpl-fake", "object": "text_completion", "created": 1_700_000_000, "model": model}
            return {**head, "choices": [choice], "usage": USAGE}
        case "embeddings":
            texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
            data = [{"object": "embedding", "index": index, "embedding": VECTOR} for index, _ in enumerate(texts)]
            return {"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": 11, "total_tokens": 11}}
        case "responses":
            return response(model)
        case _:
            return None


def response(model: str, status: str = "completed") -> dict[str, Any]:
    is_complete = status == "completed"
    text = {"type": "output_text", "text": TEXT, "annotations": []}
    message = {"id": "msg_fake", "type": "message", "role": "assistant", "status": status, "content": [text]}
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "model": model,
        "output": [message] if is_complete else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": RESPONSE_USAGE if is_complete else None,
    }


async def pieces(endpoint: str, request: dict[str, Any]) -> AsyncIterator[bytes]:
    """The same as a stream."""
    model = str(request.get("model"))
    words = ["Here", " is", " the", " analysis", "."]
    if endpoint == "completions":
        head = {"id": "cmpl-fake", "object": "text_completion", "created": 1_700_000_000, "model": model}
        for word in words:
            yield _event({**head, "choices": [{"index": 0, "text": word, "logprobs": None, "finish_reason": None}]})
        yield _event({**head, "choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]})
        if (request.get("stream_options") or {}).get("include_usage"):
            yield _event({**head, "choices": [], "usage": USAGE})
        yield b"data: [DONE]\n\n"
        return
    yield _event({"type": "response.created", "sequence_number": 0, "response": response(model, "in_progress")})
    for number, word in enumerate(words, start=1):
        where = {"item_id": "msg_fake", "output_index": 0, "content_index": 0, "logprobs": []}
        yield _event({"type": "response.output_text.delta", "sequence_number": number, "delta": word, **where})
    yield _event({"type": "response.completed", "sequence_number": 9, "response": response(model)})


def _event(data: dict[str, Any]) -> bytes:
    name = f"event: {data['type']}\n" if "type" in data else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()
