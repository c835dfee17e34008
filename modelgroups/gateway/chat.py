"""Asking a model: by one plain POST where that does, else through LiteLLM's SDK. Workers only: it imports litellm."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from types import ModuleType

from modelgroups.gateway import endpoints, estimates, openai_http, sdk
from modelgroups.gateway.errors import AttemptFailed, Cause
from modelgroups.gateway.parameters import CREDENTIAL
from modelgroups.gateway.streams import ChatStream
from modelgroups.gateway.types import ChatAnswer, ChatRequest, Target, Usage


async def ask(target: Target, request: ChatRequest, *, timeout_s: float) -> ChatAnswer:
    """Ask one model once. Raises AttemptFailed; no other exception means a bug of ours."""
    try:
        return await _way(target, request.endpoint).chat(target, request, timeout_s=timeout_s)
    except AttemptFailed as error:
        raise _of_endpoint(error, request.endpoint) from error


async def stream(
    target: Target, request: ChatRequest, into: ChatStream, *, timeout_s: float, deadline_s: float
) -> ChatAnswer:
    """Ask one model once, passing its answer on piece by piece.

    `timeout_s` is how long each piece may take, the first included, and `deadline_s` how long all of it may.
    Raises AttemptFailed, which after the first piece says what the answer has cost and that no other model can
    answer; with the cause CLIENT_GONE where `into` was abandoned.
    """
    try:
        await _read(target, request, into, timeout_s=timeout_s, deadline_s=deadline_s)
        into.finish()
    except AttemptFailed as error:
        if not into.has_begun:
            raise _of_endpoint(error, request.endpoint) from error
        raise AttemptFailed(
            Cause.CUT_SHORT if error.cause == Cause.UNREACHABLE else error.cause,
            error_class=error.error_class,
            http_status=error.http_status,
            usage=_usage(target, request, into),
            can_fall_back=False,
        ) from error
    return ChatAnswer(
        content=into.content,
        finish_reason=into.finish_reason,
        usage=_usage(target, request, into),
        tool_calls=into.tool_calls,
    )


def _of_endpoint(error: AttemptFailed, endpoint: str) -> AttemptFailed:
    """The failure as it counts there.

    Outside chat, a 403 or 404 most often says that the model, or what the request names, is nothing for the endpoint.
    That is the client's mistake, for which the model must not rest; another model may do.
    """
    is_about_model = error.cause in (Cause.AUTHENTICATION, Cause.MODEL_NOT_FOUND) and error.http_status in (403, 404)
    if endpoint in ("", endpoints.CHAT) or not is_about_model:
        return error
    return AttemptFailed(
        Cause.UNSUPPORTED, error_class=error.error_class, http_status=error.http_status, usage=error.usage
    )


async def _read(target: Target, request: ChatRequest, into: ChatStream, *, timeout_s: float, deadline_s: float) -> None:
    """Read the answer to its end. Raises AttemptFailed."""
    now = asyncio.get_running_loop().time
    deadline = now() + deadline_s
    try:
        if into.is_abandoned:
            raise TimeoutError
        async with (
            asyncio.timeout(min(timeout_s, deadline_s)) as limit,
            aclosing(_way(target, request.endpoint).stream(target, request)) as arriving,
        ):
            into.until(limit)
            async for chunks in arriving:
                shown = endpoints.shown(chunks, request, target) if request.endpoint else []
                if into.take(chunks, shown) and not into.is_abandoned:
                    limit.reschedule(min(now() + timeout_s, deadline))
    except TimeoutError as error:
        if into.is_abandoned:
            raise AttemptFailed(Cause.CLIENT_GONE, error_class="ClientGone", can_fall_back=False) from error
        raise AttemptFailed(Cause.TIMEOUT, error_class="Timeout") from error
    if into.has_choice and not into.has_ended:
        raise AttemptFailed(Cause.CUT_SHORT, error_class="NoFinishReason", http_status=200)
    if not into.has_choice:
        raise AttemptFailed(Cause.MALFORMED_ANSWER, error_class="EmptyAnswer", usage=_reported(target, request, into))


def _usage(target: Target, request: ChatRequest, answer: ChatStream) -> Usage:
    """As reported, which comes with an answer's end only; else as estimated."""
    if answer.reported_usage is not None:
        return _reported(target, request, answer)
    tool_calls = "".join(str(call["function"]) for call in answer.tool_calls or [])
    estimated = {
        "prompt_tokens": estimates.prompt_tokens(request),
        "completion_tokens": estimates.text_tokens((answer.content or "") + tool_calls),
    }
    return replace(_way(target, request.endpoint).usage_of(estimated, target), is_estimated=True)


def _reported(target: Target, request: ChatRequest, answer: ChatStream) -> Usage:
    return _way(target, request.endpoint).usage_of(answer.reported_usage or {}, target)


def _way(target: Target, endpoint: str) -> ModuleType:
    """Raises AttemptFailed where there is none, and where the model's credential is not there.

    The environment's key is not meant for such a model.
    """
    if CREDENTIAL in target.config and target.api_key is None:
        raise AttemptFailed(Cause.AUTHENTICATION, error_class="CredentialMissing")
    if endpoint == endpoints.RESPONSES:
        if not openai_http.has_responses(target):
            raise AttemptFailed(Cause.UNSUPPORTED, error_class="NoResponses")
        return openai_http
    return openai_http if openai_http.is_plain_openai(target) else sdk


async def start() -> None:
    """Load what the first call would otherwise have to wait for."""
    await sdk.warm_up()
    estimates.text_tokens("ready")


async def close() -> None:
    """Close what is open on the running event loop."""
    await openai_http.close()
