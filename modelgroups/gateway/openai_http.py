"""Asking a model that speaks plain OpenAI, without LiteLLM's SDK in between.

The SDK costs several milliseconds of CPU per call, most of what a worker does. Where a model needs none of its
translations, one pooled POST asks the same, and the price is LiteLLM's all the same (`prices.cost_usd`). Every
other model keeps the SDK: `is_plain_openai` decides, and when in doubt it says no.
"""

import asyncio
import json
import os
import urllib.request
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp

from modelgroups.gateway import endpoints, passed_on, proxy_calls
from modelgroups.gateway.endpoints import CHAT, COMPLETIONS, RESPONSES, has_answer, has_error, public
from modelgroups.gateway.errors import AttemptFailed, Cause, cause_of_status
from modelgroups.gateway.parameters import SAMPLING, litellm_name
from modelgroups.gateway.prices import cost_usd, has_flat_price, has_known_price, provider_of
from modelgroups.gateway.retry_after import retry_after_s
from modelgroups.gateway.sse import EventReader
from modelgroups.gateway.streams import END, in_one_piece
from modelgroups.gateway.types import ChatAnswer, ChatRequest, Target, Usage, short_text, token_count

OPENAI_API_BASE = "https://api.openai.com/v1"
#: Models whose parameters LiteLLM passes on as they are; for newer ones it renames some (max_tokens, for one).
PLAIN_MODELS = frozenset(
    {"gpt-3.5-turbo", "gpt-4", "gpt-4-turbo", "gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"}
)
#: No chat answer is that long. A provider that sends more is broken, and must not fill our memory.
MAX_ANSWER_BYTES = 16 * 1024 * 1024
CONNECTIONS = 5000
CHUNK_BYTES = 64 * 1024

#: What OpenAI writes into `error.code` of a 400 that has a cause of its own.
_CAUSES_BY_CODE = {
    "context_length_exceeded": Cause.CONTEXT_WINDOW,
    "content_policy_violation": Cause.CONTENT_POLICY,
    "content_filter": Cause.CONTENT_POLICY,
}

_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()


def is_plain_openai(target: Target) -> bool:
    """Whether one POST does: OpenAI's own older models, and any other that an `api_base` serves as `openai/…`."""
    if target.proxy is not None:
        return True
    config = target.config
    if config.keys() & {"mock_response", "api_version"} or not has_flat_price(target.model_name, config):
        return False
    provider, _, bare = litellm_name(target.model_name, config).partition("/")
    if bare:
        # A name of OpenAI's that is not among the plain ones may be one whose parameters LiteLLM renames.
        is_served_elsewhere = "api_base" in config and not has_known_price(bare, {})
        return provider == "openai" and (bare in PLAIN_MODELS or is_served_elsewhere)
    return provider in PLAIN_MODELS


def has_responses(target: Target) -> bool:
    """Whether one POST does for `responses`: there is nothing to translate for any of OpenAI's models."""
    if is_plain_openai(target):
        return True
    is_openai_s = provider_of(target.model_name, target.config) == "openai"
    return is_openai_s and not target.config.keys() & {"mock_response", "api_version"}


async def chat(target: Target, request: ChatRequest, *, timeout_s: float) -> ChatAnswer:
    """Ask one model once. Raises AttemptFailed; no other exception means a bug of ours."""
    try:
        async with asyncio.timeout(timeout_s), _post(target, request) as reply:
            body = await _read_body(reply)
    except TimeoutError as error:
        raise AttemptFailed(Cause.TIMEOUT, error_class="Timeout") from error
    except aiohttp.ClientError as error:
        raise AttemptFailed(Cause.UNREACHABLE, error_class=type(error).__name__) from error
    answer = _usable(reply, body, target)
    costed = answer if target.proxy is None else proxy_calls.with_cost(answer, reply.headers)
    read = _read(costed, target) if request.endpoint in ("", CHAT) else _read_other(costed, request.endpoint, target)
    return replace(read, body=public(answer, target)) if request.endpoint else read


async def stream(target: Target, request: ChatRequest) -> AsyncGenerator[list[Mapping[str, Any]], None]:
    """Ask one model once; what came at once comes at once, as OpenAI's chunks. Raises AttemptFailed.

    It just ends where the provider does, be it in the middle; whoever reads it keeps the time.
    """
    try:
        async with _post(target, request, **_streaming(request)) as reply:
            if reply.status != 200 or reply.content_type != "text/event-stream":
                yield [_whole(_usable(reply, await _read_body(reply), target), request.endpoint), END]
                return
            reader, size = EventReader(), 0
            async for received in reply.content.iter_any():
                size += len(received)
                if size > MAX_ANSWER_BYTES:
                    raise _too_large(reply)
                yield _chunks(reader.feed(received))
            yield _chunks(reader.end())
    except aiohttp.ClientPayloadError:
        return
    except aiohttp.ClientError as error:
        raise AttemptFailed(Cause.UNREACHABLE, error_class=type(error).__name__) from error


def _streaming(request: ChatRequest) -> dict[str, Any]:
    """How to ask for a stream, and for its usage at the end, which `responses` always tells."""
    if request.endpoint == RESPONSES:
        return {"stream": True}
    options = request.parameters.get("stream_options")
    options = options if isinstance(options, dict) else {}
    return {"stream": True, "stream_options": {**options, "include_usage": True}}


def _whole(answer: Mapping[str, Any], endpoint: str) -> Mapping[str, Any]:
    if endpoint == RESPONSES:
        return {"type": "response.completed", "response": answer}
    return answer if endpoint == COMPLETIONS else in_one_piece(answer)


def _chunks(events: Iterator[bytes]) -> list[Mapping[str, Any]]:
    """Raises AttemptFailed for what is no JSON object."""
    chunks = [END if data == b"[DONE]" else _parsed(data) for data in events]
    if None in chunks:
        raise AttemptFailed(Cause.MALFORMED_ANSWER, error_class="NotJSON", http_status=200)
    return [chunk for chunk in chunks if chunk is not None]


def _usable(reply: aiohttp.ClientResponse, body: bytes, target: Target) -> Mapping[str, Any]:
    """The answer's JSON. Raises AttemptFailed."""
    status = reply.status
    if status != 200 and target.proxy is not None:
        error = (_parsed(body) or {}).get("error")
        raise proxy_calls.failure(status, error, target.proxy, retry_after_s=retry_after_s(reply.headers))
    if status != 200:
        raise AttemptFailed(
            _cause(status, body),
            error_class="APIStatusError",
            http_status=status,
            retry_after_s=retry_after_s(reply.headers),
        )
    answer = _parsed(body)
    if answer is None:
        raise AttemptFailed(Cause.MALFORMED_ANSWER, error_class="NotJSON", http_status=status)
    return answer


def _post(target: Target, request: ChatRequest, **more: Any) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    """The provider's response. Entering it raises aiohttp.ClientError."""
    config, proxy = target.config, target.proxy
    base = str(config.get("api_base") or os.environ.get("OPENAI_BASE_URL") or OPENAI_API_BASE)
    key = target.api_key
    if key is None and "api_base" not in config:
        # The platform's own key is for the platform's own provider.
        key = os.environ.get("OPENAI_API_KEY")
    endpoint = request.endpoint or CHAT
    payload = {
        "model": litellm_name(target.model_name, config).removeprefix("openai/"),
        **({"messages": request.messages} if endpoint == CHAT else {}),
        **({name: value for name, value in config.items() if name in SAMPLING} if endpoint == CHAT else {}),
        **passed_on.to_provider(request.parameters),
        **more,
    }
    headers = {"Content-Type": "application/json", **config.get("extra_headers", {})}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    url = f"{base.rstrip('/')}/{endpoint}"
    if proxy is not None:
        # The provider's key and headers are the proxy's affair.
        payload = {**passed_on.to_proxy(payload), **{name: payload[name] for name in passed_on.OURS & payload.keys()}}
        payload |= {"model": target.model_name, **proxy_calls.SWITCHES}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {proxy.key}"}
        url = f"{proxy.url}/v1/{endpoint}"
    return _session().post(url, data=json.dumps(payload).encode(), headers=headers, allow_redirects=False)


async def _read_body(reply: aiohttp.ClientResponse) -> bytes:
    """The whole body. Raises aiohttp.ClientError; AttemptFailed for a body without end."""
    chunks, size = [], 0
    async for chunk in reply.content.iter_chunked(CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise _too_large(reply)
    return b"".join(chunks)


def _too_large(reply: aiohttp.ClientResponse) -> AttemptFailed:
    reply.close()
    return AttemptFailed(Cause.MALFORMED_ANSWER, error_class="AnswerTooLarge", http_status=reply.status)


def _session() -> aiohttp.ClientSession:
    """The running loop's session: one pool of connections for all calls of a worker."""
    loop = asyncio.get_running_loop()
    session = _sessions.get(loop)
    if session is None:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, limit_per_host=CONNECTIONS, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None),
            # Looking the proxies up at every request is slow, so only where there are some.
            trust_env=bool(urllib.request.getproxies()),
        )
        _sessions[loop] = session
    return session


async def close() -> None:
    """Close the running loop's session, if it has one."""
    session = _sessions.pop(asyncio.get_running_loop(), None)
    if session is not None:
        await session.close()


def _cause(status: int, body: bytes) -> Cause:
    error = (_parsed(body) or {}).get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return _CAUSES_BY_CODE.get(str(code), cause_of_status(status)) if status == 400 else cause_of_status(status)


def _read(answer: Mapping[str, Any], target: Target) -> ChatAnswer:
    """An answer without a choice is none, though it may have cost."""
    usage = usage_of(answer.get("usage"), target)
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    choice = choice if isinstance(choice, dict) else {}
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(content, str | None) or has_error(answer):
        raise AttemptFailed(Cause.MALFORMED_ANSWER, error_class="EmptyAnswer", usage=usage)
    tool_calls = message.get("tool_calls")
    return ChatAnswer(
        content=content,
        finish_reason=short_text(choice.get("finish_reason")),
        usage=usage,
        tool_calls=tool_calls if isinstance(tool_calls, list) else None,
    )


def _read_other(answer: Mapping[str, Any], endpoint: str, target: Target) -> ChatAnswer:
    usage = usage_of(answer.get("usage"), target)
    if not has_answer(endpoint, answer):
        raise AttemptFailed(Cause.MALFORMED_ANSWER, error_class="EmptyAnswer", usage=usage)
    return ChatAnswer(content=None, finish_reason=None, usage=usage)


def usage_of(reported: Any, target: Target) -> Usage:
    """What a provider reported, with its price."""
    reported = endpoints.usage(reported)
    details = reported.get("prompt_tokens_details")
    prompt_tokens = token_count(reported.get("prompt_tokens"))
    completion_tokens = token_count(reported.get("completion_tokens"))
    cached_tokens = token_count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    if target.proxy is not None and (counted := proxy_calls.cost_usd(reported)) is not None:
        return Usage(prompt_tokens, completion_tokens, counted)
    cost = cost_usd(
        target.model_name,
        target.config,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_tokens=min(cached_tokens, prompt_tokens),
    )
    return Usage(prompt_tokens, completion_tokens, cost)


def _parsed(body: bytes) -> Mapping[str, Any] | None:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None
