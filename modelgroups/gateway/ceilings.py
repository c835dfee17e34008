"""How many tokens a request may take, before it is made: what its share of the budget is reserved by (ADR 61).

Web asks, so there is no tokenizer here. The prompt is counted too high rather than too low; the answer is as long as
the request allows, and where it does not say, nobody knows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: English takes four bytes a token, and most other languages and code about three.
BYTES_PER_TOKEN = 3
#: What formats add to each text.
TOKENS_PER_TEXT = 4
#: An image, a sound or a file, whose size in bytes says nothing: what OpenAI counts a large image as.
TOKENS_PER_ATTACHMENT = 1_500
ATTACHMENTS = frozenset({"image_url", "input_image", "input_audio", "file", "input_file"})
#: The names by which endpoints limit their answers, and by which they ask for several of them.
OUTPUT_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
MOST_TOKENS = 10**9
#: Beyond it, nobody looks; strict JSON is not as deep.
MAX_DEPTH = 64


@dataclass(frozen=True)
class Ceiling:
    """Tokens. `output` is None where the request sets no limit."""

    input: int
    output: int | None
    answers: int = 1

    @property
    def output_of_all(self) -> int | None:
        """Of all answers together."""
        return None if self.output is None else min(self.output * self.answers, MOST_TOKENS)


def ceiling(prompt: Any, parameters: Mapping[str, Any]) -> Ceiling:
    """Of a request: `prompt` is what is read (messages or input), `parameters` everything else."""
    texts = [prompt, *(parameters.get(name) for name in ("tools", "functions", "response_format", "instructions"))]
    limits = [limit for name in OUTPUT_LIMITS if (limit := _positive(parameters.get(name))) is not None]
    return Ceiling(
        input=min(sum(_tokens(texts)), MOST_TOKENS),
        output=limits[0] if limits else None,
        answers=max(_positive(parameters.get("n")) or 1, _positive(parameters.get("best_of")) or 1),
    )


def _positive(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return min(value, MOST_TOKENS) if is_count else None


def _tokens(value: Any, depth: int = 0) -> Iterator[int]:
    if isinstance(value, str):
        yield TOKENS_PER_TEXT + -(-len(value.encode("utf-8", "replace")) // BYTES_PER_TOKEN)
    elif isinstance(value, dict) and isinstance(kind := value.get("type"), str) and kind in ATTACHMENTS:
        yield TOKENS_PER_ATTACHMENT
    elif isinstance(value, dict | list) and depth < MAX_DEPTH:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tokens(item, depth + 1)
    elif isinstance(value, int | float):
        # An embedding's input may be a list of tokens.
        yield 1
