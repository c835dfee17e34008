"""Asking a model through LiteLLM's SDK. Import this module in workers only, and lazily."""

import os

# Before litellm is imported, which reads them then. No price list over the network, no log of prompts, and
# room for as many connections as there are calls in flight.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ.setdefault("LITELLM_LOG", "ERROR")
os.environ.setdefault("AIOHTTP_CONNECTOR_LIMIT", "5000")
os.environ.setdefault("AIOHTTP_CONNECTOR_LIMIT_PER_HOST", "5000")

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import litellm

from modelgroups.gateway import endpoints, passed_on
from modelgroups.gateway.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, has_error, public
from modelgroups.gateway.errors import AttemptFailed, Cause, cause_of_status
from modelgroups.gateway.parameters import SAMPLING, litellm_name, own_price
from modelgroups.gateway.retry_after import retry_after_s
from modelgroups.gateway.types import ChatAnswer, ChatRequest, Target, Usage, short_text, token_count

logger = logging.getLogger(__name__)

litellm.telemetry = False
litellm.suppress_debug_info = True
litellm.drop_params = True
litellm.callbacks = []
litellm.num_retries = 0

#: LiteLLM's own limit for the pieces of a stream, whose time is kept elsewhere: longer than any.
READ_TIMEOUT_S = 3600

#: First match wins: LiteLLM's classes of 400s derive from each other.
_CAUSES: tuple[tuple[type[Exception], Cause], ...] = (
    (litellm.ContextWindowExceededError, Cause.CONTEXT_WINDOW),
    (litellm.ContentPolicyViolationError, Cause.CONTENT_POLICY),
    (litellm.RateLimitError, Cause.RATE_LIMITED),
    (litellm.Timeout, Cause.TIMEOUT),
    (litellm.AuthenticationError, Cause.AUTHENTICATION),
    (litellm.NotFoundError, Cause.MODEL_NOT_FOUND),
    (litellm.APIConnectionError, Cause.UNREACHABLE),
    (litellm.APIResponseValidationError, Cause.MALFORMED_ANSWER),
    (litellm.JSONSchemaValidationError, Cause.MALFORMED_ANSWER),
)


async def chat(target: Target, request: ChatRequest, *, timeout_s: float) -> ChatAnswer:
    """Ask one model once. Raises AttemptFailed; no other exception means a bug of ours."""
    try:
        async with asyncio.timeout(timeout_s):
            response = await _ask(target, request, timeout=timeout_s)
            answer = (_read if request.endpoint in ("", CHAT) else _read_other)(response, target)
            if not request.endpoint:
                return answer
            body = _body(response)
            if has_error(body):
                raise AttemptFailed(Cause.MALFORMED_ANSWER, error_class="EmptyAnswer", usage=answer.usage)
            return replace(answer, body=public(body, target))
    except TimeoutError as error:
        raise AttemptFailed(Cause.TIMEOUT, error_class="Timeout") from error


async def stream(target: Target, request: ChatRequest) -> AsyncGenerator[list[Mapping[str, Any]], None]:
    """Ask one model once; its answer comes as OpenAI's chunks, into which LiteLLM translates. Raises AttemptFailed.

    Whoever reads it keeps the time. LiteLLM gives an answer that just ends a finish reason of its own, so only one
    whose connection breaks is seen to be cut short, and one of which there was nothing but that is none.
    """
    has_begun = False
    chunks = await _ask(target, request, timeout=READ_TIMEOUT_S, stream=True, stream_options={"include_usage": True})
    try:
        async for chunk in chunks:
            has_begun = has_begun or request.endpoint not in ("", CHAT) or _says_something(chunk)
            if has_begun:
                yield [chunk.model_dump(mode="json", exclude_none=True)]
    except Exception as error:
        raise _translate(error) from error
    finally:
        # LiteLLM's stream of a text completion is a wrapper around one that can be closed.
        await (chunks if hasattr(chunks, "aclose") else chunks.completion_stream).aclose()


def _says_something(chunk: Any) -> bool:
    deltas = [getattr(choice, "delta", None) for choice in chunk.choices]
    return any(getattr(delta, name, None) for delta in deltas for name in ("role", "content", "tool_calls"))


async def _ask(target: Target, request: ChatRequest, **more: Any) -> Any:
    """LiteLLM's response. Raises AttemptFailed."""
    is_chat = request.endpoint in ("", CHAT)
    defaults = {name: value for name, value in target.config.items() if name in SAMPLING and is_chat}
    parameters = passed_on.to_sdk(request.parameters) if request.endpoint else request.parameters
    if is_chat:
        # Without the switch, LiteLLM looks for MCP servers among a call's tools, for which it imports a package that
        # it does not require.
        more |= {"messages": request.messages, "_skip_mcp_handler": True}
    connection = {
        name: target.config[name]
        for name in ("api_base", "api_version", "extra_headers", "mock_response")
        if name in target.config
    }
    try:
        response = await _FUNCTIONS[request.endpoint or CHAT](
            model=litellm_name(target.model_name, target.config),
            api_key=target.api_key or _no_key(target),
            num_retries=0,
            max_retries=0,
            **{**defaults, **connection, **parameters, **more},
        )
    except Exception as error:
        raise _translate(error) from error
    if response is None:
        # With drop_params, LiteLLM answers a 422 by leaving parameters out; after the second it returns nothing.
        raise AttemptFailed(Cause.REQUEST_REFUSED, error_class="UnprocessableEntityError", http_status=422)
    return response


#: Endpoint → LiteLLM's function for it. That for `responses` needs a package that LiteLLM does not require.
_FUNCTIONS: Mapping[str, Callable[..., Awaitable[Any]]] = {
    CHAT: litellm.acompletion,
    COMPLETIONS: litellm.atext_completion,
    EMBEDDINGS: litellm.aembedding,
}


def _no_key(target: Target) -> str | None:
    """Else LiteLLM would send the platform's OPENAI_API_KEY to whatever address serves this as OpenAI."""
    is_served_elsewhere = "api_base" in target.config
    provider = litellm_name(target.model_name, target.config).partition("/")[0]
    return "none" if is_served_elsewhere and provider == "openai" else None


async def warm_up() -> None:
    """Make LiteLLM load what it loads at its first call, so that no client has to wait for it."""
    await chat(
        Target("gpt-4o-mini", {"mock_response": "ready"}),
        ChatRequest(messages=[{"role": "user", "content": "ready?"}], parameters={}),
        timeout_s=60,
    )


def count_tokens(text: str) -> int:
    """By OpenAI's tokenizer: 40 ms of CPU per megabyte."""
    return int(litellm.token_counter(model="gpt-4o", text=text))


def _translate(error: Exception) -> AttemptFailed:
    status = getattr(error, "status_code", None)
    status = status if isinstance(status, int) else None
    by_class = (cause for error_type, cause in _CAUSES if isinstance(error, error_type))
    cause = next(by_class, None)
    if cause is None and _never_got_an_answer(error):
        cause, status = Cause.UNREACHABLE, None
    if cause is None:
        # LiteLLM raises plain Python errors where it stumbles over an answer's shape.
        cause = Cause.MALFORMED_ANSWER if status is None else cause_of_status(status)
    return AttemptFailed(
        cause, error_class=type(error).__name__, http_status=status, retry_after_s=retry_after_s(_headers(error))
    )


def _headers(error: Exception) -> Mapping[str, str]:
    """The provider's: LiteLLM keeps them beside the response that it makes up."""
    headers = getattr(error, "litellm_response_headers", None) or getattr(
        getattr(error, "response", None), "headers", {}
    )
    return headers if isinstance(headers, Mapping) else {}


def _never_got_an_answer(error: BaseException) -> bool:
    """Whether a broken connection is behind it: LiteLLM makes a status 500 of that, which nobody sent."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, httpx.TransportError):
        link = link.__cause__ or link.__context__
    return link is not None


def _read(response: Any, target: Target) -> ChatAnswer:
    """LiteLLM's answer as ours. An answer without a choice is none, though it may have cost."""
    usage = _usage(response, target)
    choices = getattr(response, "choices", None)
    message = getattr(choices[0], "message", None) if choices else None
    if not choices or message is None:
        raise AttemptFailed(Cause.MALFORMED_ANSWER, error_class="EmptyAnswer", usage=usage)
    content = getattr(message, "content", None)
    return ChatAnswer(
        content=content if content is None else str(content),
        finish_reason=short_text(getattr(choices[0], "finish_reason", None)),
        usage=usage,
        tool_calls=[call.model_dump() for call in getattr(message, "tool_calls", None) or []] or None,
    )


def _read_other(response: Any, target: Target) -> ChatAnswer:
    """What is no chat: an answer without data or a choice is none."""
    usage = _usage(response, target)
    if not any(getattr(response, name, None) for name in ("data", "choices")):
        raise AttemptFailed(Cause.MALFORMED_ANSWER, error_class="EmptyAnswer", usage=usage)
    return ChatAnswer(content=None, finish_reason=None, usage=usage)


def _body(response: Any) -> dict[str, Any]:
    """As OpenAI would have sent it."""
    body: dict[str, Any] = response.model_dump(mode="json")
    return body


def _usage(response: Any, target: Target) -> Usage:
    reported = getattr(response, "usage", None)
    cost = (getattr(response, "_hidden_params", None) or {}).get("response_cost")
    return usage_of(endpoints.usage(reported.model_dump()) if reported is not None else {}, target, cost_usd=cost)


def usage_of(reported: Mapping[str, Any], target: Target, *, cost_usd: Any = None) -> Usage:
    """What a provider reported, with its price: the operator's, or else LiteLLM's figure where it has given one."""
    prompt_tokens = token_count(reported.get("prompt_tokens"))
    completion_tokens = token_count(reported.get("completion_tokens"))
    price = own_price(target.config)
    if price is not None:
        return Usage(prompt_tokens, completion_tokens, prompt_tokens * price[0] + completion_tokens * price[1])
    if cost_usd is None:
        cost_usd = _cost_by_price_map(target, reported, prompt_tokens, completion_tokens)
    return Usage(
        prompt_tokens, completion_tokens, None if cost_usd is None else max(Decimal(str(cost_usd)), Decimal(0))
    )


def _cost_by_price_map(
    target: Target, reported: Mapping[str, Any], prompt_tokens: int, completion_tokens: int
) -> Decimal | None:
    details = reported.get("prompt_tokens_details")
    try:
        costs = litellm.cost_per_token(
            model=litellm_name(target.model_name, target.config),
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cache_read_input_tokens=token_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
        )
    except Exception:  # noqa: BLE001 (LiteLLM raises a bare Exception for a model that it does not know)
        logger.error("no cost for an answer of %s: counted as unknown", target.model_name)
        return None
    return sum((Decimal(str(cost)) for cost in costs), Decimal(0))
