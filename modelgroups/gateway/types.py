"""What goes into the gateway and what comes out: no type of LiteLLM's leaves it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class ProxyRoute:
    """The way to LiteLLM Proxy for one team. `key` is the team's platform key; empty where it has none yet.

    `is_in_step`: no change of the team is still on its way there.
    """

    url: str
    key: str = field(repr=False)
    is_in_step: bool


@dataclass(frozen=True)
class Target:
    """One model to ask, as its group describes it."""

    model_name: str
    config: Mapping[str, Any]
    api_key: str | None = field(default=None, repr=False)
    #: 0 first; models of the same priority are in the order of their position.
    priority: int = 0
    #: Where it is LiteLLM Proxy that is asked, which knows the model by `model_name`.
    proxy: ProxyRoute | None = None


@dataclass(frozen=True)
class ChatRequest:
    """What the client asked: messages, and a chat completion's parameters by OpenAI's and LiteLLM's names.

    With an `endpoint` (see `gateway.endpoints`), an OpenAI client asks it, whose answer shall be the provider's own;
    the parameters are then whatever the client wrote, and hold the prompt where it is no chat.
    """

    messages: list[dict[str, Any]] = field(repr=False)
    parameters: Mapping[str, Any]
    endpoint: str = ""


@dataclass(frozen=True)
class Usage:
    """Tokens and their cost. `cost_usd` is None where it could not be computed: unknown is not zero.

    Estimated where the provider did not say, because its answer was cut for instance.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: Decimal | None = Decimal(0)
    is_estimated: bool = False


@dataclass(frozen=True)
class ChatAnswer:
    """A model's answer, with no trace of which model it was, but for its `body`: as an OpenAI client gets it."""

    content: str | None = field(repr=False)
    finish_reason: str | None
    usage: Usage
    tool_calls: list[dict[str, Any]] | None = field(default=None, repr=False)
    body: dict[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class ChatDelta:
    """A piece of an answer that is streamed. `tool_calls` are OpenAI's fragments, each with its `index`.

    For an OpenAI client it is the provider's `chunks` instead.
    """

    content: str | None = field(default=None, repr=False)
    tool_calls: list[dict[str, Any]] | None = field(default=None, repr=False)
    chunks: list[dict[str, Any]] | None = field(default=None, repr=False)


#: More than any answer has, and at any price less than a cost that can be stored.
MOST_TOKENS = 2**31 - 1
MOST_COST_USD = Decimal(10**7)


def token_count(reported: Any) -> int:
    """A provider's count as a number that can be stored; nonsense counts as 0."""
    return min(max(reported, 0), MOST_TOKENS) if isinstance(reported, int) else 0


def short_text(reported: Any) -> str | None:
    """A provider's short text, such as a finish reason, as a text that can be stored."""
    if not isinstance(reported, str):
        return None
    # Neither NUL nor half a character can be stored.
    return reported.replace("\x00", "").encode("utf-8", "replace").decode()[:64]
