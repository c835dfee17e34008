"""`/v1/…`, and the same without: coroutine views, because they wait (config/asgi.py runs them without a thread)."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import partial
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from config.foundation.api.coroutine_views import EventStream, event, json_answer
from config.foundation.errors import DomainError
from jobs.api.limited import answer_order
from jobs.api.openai.errors import error_of
from jobs.api.openai.requests import JOB_HEADER, read_order
from jobs.callpath.dispatch import Dispatched, Form, Order, Stream, answer, dispatch, succeeded
from jobs.callpath.messages import Delta
from jobs.errors import AnswerLost, call_failed
from modelgroups.gateway.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES
from tenancy.api.base import ApiView

#: The end of a stream, but for `responses`.
DONE = b"data: [DONE]\n\n"

View = Callable[[HttpRequest], Coroutine[Any, Any, HttpResponseBase]]


def _view(endpoint: str) -> View:
    async def view(request: HttpRequest) -> HttpResponseBase:
        return await answer_order(request, read_order(request, endpoint), partial(_make, endpoint))

    return view


async def _make(endpoint: str, order: Order) -> HttpResponseBase:
    """Make the call; its answer is the provider's."""
    dispatched = await dispatch(order)
    headers = {"X-Call-Id": str(dispatched.call_id)}
    if dispatched.replay:
        headers["Idempotency-Replayed"] = "true"
    if dispatched.order.form is Form.ANSWER:
        reply = await answer(dispatched)
        if reply.body is None:
            # A worker that knows no endpoint has made the call: one of the release before, in the middle of an upgrade.
            raise AnswerLost
        return json_answer(reply.body, headers=headers)
    events = _events(dispatched, endpoint)
    # The first event is awaited here, because until then the answer can still be an error with its status.
    first = await anext(events)
    return EventStream(first, events, headers=headers)


async def _events(dispatched: Dispatched, endpoint: str) -> AsyncGenerator[bytes, None]:
    """A stream's events. Raises DomainError, but only instead of the first one."""
    has_begun = False
    async with Stream(dispatched) as messages:
        try:
            async for message in messages:
                if isinstance(message, Delta):
                    yield b"".join(_event(chunk, endpoint) for chunk in message.chunks or [])
                elif message.state == "succeeded":
                    yield b"" if endpoint == RESPONSES else DONE
                elif has_begun:
                    yield event({"error": error_of(call_failed(message.cause))})
                else:
                    succeeded(message)
                has_begun = True
        except DomainError as error:
            if not has_begun:
                raise
            yield event({"error": error_of(error)})


def _event(chunk: dict[str, Any], endpoint: str) -> bytes:
    """`responses` names its events, by their type."""
    return event(chunk, name=str(chunk["type"]) if endpoint == RESPONSES and "type" in chunk else None)


chat_completions = _view(CHAT)
completions = _view(COMPLETIONS)
embeddings = _view(EMBEDDINGS)
responses = _view(RESPONSES)

_JOB = OpenApiParameter(
    JOB_HEADER, str, OpenApiParameter.HEADER, description="An open job of the team, in which the call is made."
)
_ANY = {"type": "object", "additionalProperties": True, "required": ["model"]}


def _documented(view: View, endpoint: str, text: str) -> None:
    """The OpenAPI generator reads DRF views only, and looks for one on the function."""

    def post(self: ApiView, request: Request) -> Response:
        raise NotImplementedError("the coroutine answers this path")

    post.__doc__ = text
    operation_id = f"openai_{endpoint.replace('/', '_')}"
    extended = extend_schema(
        operation_id=operation_id,
        request={"application/json": _ANY},
        responses={200: {"type": "object", "additionalProperties": True}},
        parameters=[_JOB],
    )(post)
    documented: Any = view
    documented.cls = type(f"{operation_id}_view", (ApiView,), {"post": extended, "__doc__": text})
    documented.initkwargs = {}
    documented.csrf_exempt = True


_documented(
    chat_completions, CHAT, "Make a chat completion, as at OpenAI. `model` is a model's or a model group's name."
)
_documented(completions, COMPLETIONS, "Complete a text, as at OpenAI.")
_documented(embeddings, EMBEDDINGS, "Embed texts, as at OpenAI.")
_documented(responses, RESPONSES, "Make a response, as at OpenAI.")
