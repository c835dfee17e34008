"""How many tokens a request may take, before it is made: what its share of the budget is reserved by (ADR 61).

Web asks, so there is no tokenizer here. The prompt is counted too high rather than too low; the answer is as long as
the request allows, and where it does not say, nobody knows. Embeddings are no tokens.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelgroups.gateway.endpoints import CHAT, COMPLETIONS, EMBEDDINGS

#: English takes four bytes a token, and most other languages and code about three.
BYTES_PER_TOKEN = 3
#: What formats add to each text.
TOKENS_PER_TEXT = 4
#: An image, a sound or a file, whose size in bytes says little: what OpenAI counts a large image as.
TOKENS_PER_ATTACHMENT = 1_500
#: A part's type → the field that holds what is attached.
ATTACHMENTS = {
    "image_url": "image_url",
    "input_image": "image_url",
    "input_audio": "input_audio",
    "file": "file",
    "input_file": "file_data",
}
#: Those that may be nothing but text.
FILES = frozenset({"file", "input_file"})
#: Where parts are: in these of a request's fields, and in their items' content.
_MESSAGES = frozenset({"messages", "input"})
_CONTENT = "content"
#: The names by which endpoints limit their answers, and by which they ask for several of them.
OUTPUT_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
MOST_TOKENS = 10**9
MAX_DIGITS = 32
#: Whoever has more values than anybody's request shall not keep the others waiting while each is looked at.
MAX_LOOKS = 100_000


@dataclass(frozen=True)
class Ceiling:
    """Tokens. `output` is each of the answers', None where the request sets no limit."""

    input: int
    output: int | None
    answers: int = 1


def ceiling(messages: Any, parameters: Mapping[str, Any], endpoint: str = CHAT) -> Ceiling:
    """Of a request. All that is no switch and no number may be read by a model: prompts, tools, schemas."""
    read = {name: value for name, value in parameters.items() if not isinstance(value, bool | int | float | None)}
    tokens = sum(_tokens(value, name in _MESSAGES) for name, value in {**read, "messages": messages}.items())
    if endpoint == EMBEDDINGS:
        return Ceiling(input=min(tokens, MOST_TOKENS), output=0)
    limits = [limit for name in OUTPUT_LIMITS if (limit := _positive(parameters.get(name))) is not None]
    of_each = max(_positive(parameters.get("n")) or 1, _positive(parameters.get("best_of")) or 1)
    prompts = _prompts(parameters.get("prompt")) if endpoint == COMPLETIONS else 1
    return Ceiling(
        input=min(tokens, MOST_TOKENS),
        output=max(limits, default=None),
        answers=min(of_each * prompts, MOST_TOKENS),
    )


def _prompts(prompt: Any) -> int:
    """How many there are: a list of texts or of lists of tokens is several, a list of tokens is one."""
    is_several = isinstance(prompt, list) and any(isinstance(one, str | list) for one in prompt)
    return len(prompt) if is_several else 1


def _positive(value: Any) -> int | None:
    """A count, also as those write it whom some providers understand: 100.0, "100"."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and len(value) <= MAX_DIGITS and value.strip().isdecimal():
        value = int(value)
    if not isinstance(value, int | float) or not value > 0:
        return None
    return MOST_TOKENS if value >= MOST_TOKENS else math.ceil(value)


def _tokens(read: Any, has_parts: bool = False) -> int:
    """Of all that is in it, names included, however deep."""
    tokens, looks, waiting = 0, 0, [(read, has_parts)]
    while waiting:
        value, may_be_part = waiting.pop()
        if (looks := looks + 1) > MAX_LOOKS:
            # A token is a byte at least.
            return len(json.dumps(read))
        if isinstance(value, str):
            tokens += _text_tokens(value)
        elif isinstance(value, list) and set(map(type, value)) == {int}:
            # A prompt may be a list of tokens.
            tokens += len(value) * _number_tokens(max(map(abs, value)))
        elif isinstance(value, list):
            tokens += 1
            waiting += [(item, may_be_part) for item in value]
        elif isinstance(value, dict):
            payload = _payload(value) if may_be_part else None
            tokens += 1 + sum(_text_tokens(name) for name in value)
            waiting += [(item, may_be_part and name == _CONTENT) for name, item in value.items() if name != payload]
            if payload is not None:
                size = _tokens(value[payload]) if value["type"] in FILES else 0
                tokens += max(size, TOKENS_PER_ATTACHMENT)
        else:
            tokens += _number_tokens(value)
    return tokens


def _payload(part: Mapping[str, Any]) -> str | None:
    """The field with the part's attachment, if it has one."""
    kind = part.get("type")
    field = ATTACHMENTS.get(kind) if isinstance(kind, str) else None
    return field if field in part else None


def _text_tokens(text: str) -> int:
    return TOKENS_PER_TEXT + -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def _number_tokens(value: Any) -> int:
    """Ten bits are three digits. A token's number is one."""
    return max(value.bit_length() // 10, 1) if isinstance(value, int) else TOKENS_PER_TEXT
