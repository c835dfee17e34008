"""How many tokens an answer took of which the provider did not say so, because it broke off for instance.

An estimate, and marked as one wherever it is shown. It tells what a broken answer cost about, where 0 would be wrong.
"""

from collections.abc import Mapping
from typing import Any

from modelgroups.gateway import sdk
from modelgroups.gateway.endpoints import CHAT, PROMPTS
from modelgroups.gateway.types import ChatRequest

#: So much of a text is counted, and the rest in proportion: counting takes 40 ms per megabyte of the event loop's time.
SAMPLE_CHARACTERS = 20_000
#: What OpenAI's chat format adds to each message.
TOKENS_PER_MESSAGE = 4
#: LiteLLM's own figure for an image of which nothing is known.
TOKENS_PER_IMAGE = 250


def prompt_tokens(request: ChatRequest) -> int:
    """Of all messages and tools; of what is no chat, by its prompt's length."""
    if request.endpoint not in ("", CHAT):
        return text_tokens(str(request.parameters.get(PROMPTS[request.endpoint])))
    parts = [part for message in request.messages for part in _parts(message)]
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    texts += [str(message["tool_calls"]) for message in request.messages if message.get("tool_calls")]
    if request.parameters.get("tools"):
        texts.append(str(request.parameters["tools"]))
    images = sum(part.get("type") == "image_url" for part in parts)
    return TOKENS_PER_MESSAGE * len(request.messages) + TOKENS_PER_IMAGE * images + text_tokens("\n".join(texts))


def text_tokens(text: str) -> int:
    """By OpenAI's tokenizer, whatever the model's own is."""
    sample = text[:SAMPLE_CHARACTERS]
    if not sample:
        return 0
    counted = sdk.count_tokens(sample)
    return -(-counted * len(text) // len(sample))


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A message's content in parts, as which OpenAI defines a plain text, too."""
    content = message.get("content")
    if isinstance(content, list):
        return [part for part in content if isinstance(part, dict)]
    return [{"type": "text", "text": content}]
