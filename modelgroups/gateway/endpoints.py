"""OpenAI's endpoints: where each has its prompt, its usage and its text, and what of an answer is not for clients.

An answer that an OpenAI client gets is the provider's own. What we need of it ourselves is read here as if it were a
chat completion's, so that everything after it knows one shape.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from modelgroups.gateway.parameters import litellm_name
from modelgroups.gateway.types import ChatRequest, Target

CHAT = "chat/completions"
COMPLETIONS = "completions"
EMBEDDINGS = "embeddings"
RESPONSES = "responses"

#: Endpoint → the field that is read as its prompt.
PROMPTS: Mapping[str, str] = {CHAT: "messages", COMPLETIONS: "prompt", EMBEDDINGS: "input", RESPONSES: "input"}
#: What an answer of it has to hold, or it is none.
_CONTENTS: Mapping[str, str] = {COMPLETIONS: "choices", EMBEDDINGS: "data", RESPONSES: "output"}
#: Chat's names of a usage's parts, and those of `responses`.
_USAGE = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "prompt_tokens_details": "input_tokens_details",
}
#: How `responses` says that this is all.
_ENDS = {"response.completed": "stop", "response.incomplete": "length"}
_ERRORS = ("error", "response.failed")


def usage(reported: Any) -> dict[str, Any]:
    """A provider's usage by chat's names."""
    reported = reported if isinstance(reported, dict) else {}
    translated = {name: reported[other] for name, other in _USAGE.items() if name not in reported and other in reported}
    return {**reported, **translated}


def has_error(body: Mapping[str, Any]) -> bool:
    """Whether a body or a chunk speaks of an error, in whatever shape: the text is the provider's own."""
    return bool(body.get("error")) or isinstance(body.get("error"), dict)


def has_answer(endpoint: str, body: Mapping[str, Any]) -> bool:
    """Whether a body in one piece is an answer at all. Chat's is read elsewhere."""
    return bool(body.get(_CONTENTS[endpoint])) and not has_error(body)


def public(body: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """An answer as it is shown. A model that goes by another name here is called by that."""
    if "model" not in body or litellm_name(target.model_name, target.config) == target.model_name:
        return dict(body)
    return {**body, "model": target.model_name}


def shown(chunks: Iterable[Mapping[str, Any]], request: ChatRequest, target: Target) -> list[dict[str, Any]]:
    """A stream's chunks as they are shown. No error is: its text is the provider's, and ours comes instead.

    We always ask for usage; a client that did not gets none.
    """
    options = request.parameters.get("stream_options")
    wants_usage = isinstance(options, dict) and bool(options.get("include_usage"))
    found = []
    for chunk in chunks:
        if not chunk or has_error(chunk) or chunk.get("type") in _ERRORS:
            continue
        piece = public(chunk, target)
        if isinstance(piece.get("response"), dict):
            if has_error(piece["response"]):
                continue
            piece["response"] = public(piece["response"], target)
        if request.endpoint != RESPONSES and "usage" in piece and not wants_usage:
            del piece["usage"]
            if not piece.get("choices"):
                continue
        found.append(piece)
    return found


def as_chat_chunk(endpoint: str, chunk: Mapping[str, Any]) -> Mapping[str, Any]:
    """A piece of any endpoint's stream as chat's would be."""
    if endpoint == COMPLETIONS:
        return {**chunk, "choices": [_as_choice(choice) for choice in _list(chunk.get("choices"))]}
    if endpoint == RESPONSES and "type" in chunk:
        return _as_chunk_of_response(chunk)
    return chunk


def _as_choice(choice: Any) -> dict[str, Any]:
    choice = choice if isinstance(choice, dict) else {}
    return {"delta": {"content": choice.get("text")}, "finish_reason": choice.get("finish_reason")}


def _as_chunk_of_response(event: Mapping[str, Any]) -> dict[str, Any]:
    response = event.get("response")
    response = response if isinstance(response, dict) else {}
    if event["type"] in _ERRORS or has_error(event) or has_error(response):
        return {"error": response.get("error") or event.get("error") or event}
    chunk: dict[str, Any] = {
        "choices": [{"delta": {"content": event.get("delta")}, "finish_reason": _ENDS.get(str(event["type"]))}]
    }
    if isinstance(response.get("usage"), dict):
        chunk["usage"] = usage(response["usage"])
    return chunk


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
