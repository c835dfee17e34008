"""`llm-call` and `create-and-call`: coroutine views, because they wait (config/asgi.py runs them without a thread)."""

from collections.abc import AsyncGenerator
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from config.foundation import async_database
from config.foundation.api.coroutine_views import EventStream, event, json_answer
from config.foundation.api.parsers import request_json
from config.foundation.errors import DomainError
from jobs.api import call_bodies
from jobs.api.limited import answer_order
from jobs.api.serializers import AcceptedCallOut, CallAnswerOut, CallIn, JobCallAnswerOut, JobCallIn
from jobs.callpath.admission import CallRequest, NewJob
from jobs.callpath.dispatch import Dispatched, Form, Order, Stream, answer, dispatch, succeeded
from jobs.callpath.idempotency import CallKey
from jobs.callpath.limits.held import held_to
from jobs.callpath.messages import Delta
from jobs.queries.jobs import parse_job_id, team_of_job
from tenancy.api.authentication import authenticate_request
from tenancy.api.base import ApiView
from tenancy.api.idempotency import hash_request, read_idempotency_key
from tenancy.errors import TeamSuspended
from tenancy.queries.principals import Principal, TeamRef
from tenancy.queries.tenants import team_for

#: What is passed on to the model, by OpenAI's and LiteLLM's names.
MODEL_PARAMETERS = (
    "temperature", "max_tokens", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop",
    "tools", "tool_choice", "response_format",
)  # fmt: skip
#: One for all calls: they keep no state, and to make one copies every field.
_CALL_IN = CallIn()
_JOB_CALL_IN = JobCallIn()


async def llm_call(request: HttpRequest, job_id: str) -> HttpResponseBase:
    """POST /api/jobs/{job_id}/llm-call; LLMCallView documents it."""
    return await answer_order(request, _order_in_job(request, job_id), _make)


async def create_and_call(request: HttpRequest) -> HttpResponseBase:
    """POST /api/jobs/create-and-call; CreateAndCallView documents it."""
    return await answer_order(request, _order_with_job(request), _make)


async def _order_in_job(request: HttpRequest, job_id: str) -> Order:
    principal, payload = await _read(request, settings.MAX_CALL_BODY_BYTES)
    job = parse_job_id(job_id)
    fields = _validated(_CALL_IN, payload)
    team = await _acting_team(principal, job)
    return _order(request, principal, payload, fields, team=team, job=job)


async def _order_with_job(request: HttpRequest) -> Order:
    principal, payload = await _read(request, settings.MAX_CALL_BODY_BYTES)
    fields = _validated(_JOB_CALL_IN, payload)
    team = await _named_team(principal, fields["team_id"])
    job = NewJob(
        job_type=fields["job_type"],
        user_id=fields["user_id"],
        metadata=fields["metadata"],
        virtual_key_id=principal.key_id if principal.kind == "team" else None,
    )
    return _order(request, principal, payload, fields, team=team, job=job)


async def _read(request: HttpRequest, limit: int) -> tuple[Principal, Any]:
    """Who asks, and what. The caller comes first: a stranger learns nothing of what is wrong with his payload."""
    if request.method != "POST":
        raise MethodNotAllowed(request.method or "")
    principal = await authenticate_request(request)
    principal.require_key_scope("jobs")
    return principal, request_json(request, limit)


def _validated(serializer: Serializer, payload: Any) -> dict[str, Any]:
    """Raises ValidationError."""
    return serializer.run_validation(payload)


def _order(
    request: HttpRequest,
    principal: Principal,
    payload: Any,
    fields: dict[str, Any],
    *,
    team: TeamRef,
    job: UUID | NewJob,
) -> Order:
    principal.require_model(fields["model_group"])
    form = _form(request, fields)
    key = read_idempotency_key(request.headers)
    return Order(
        team=team,
        job=job,
        request=CallRequest(
            model_group=fields["model_group"],
            messages=fields["messages"],
            parameters={name: fields[name] for name in MODEL_PARAMETERS if fields.get(name) is not None},
            purpose=fields["purpose"],
            retry_of=fields.get("retry_of"),
            is_stored=form is Form.STORED,
            key=CallKey(principal.idempotency_scope, key) if key is not None else None,
        ),
        form=form,
        # The form is part of it: what is stored for one is no answer in another.
        request_hash=hash_request("POST", request.path, [form, payload]) if key is not None else b"",
        held=held_to(team, principal, user_id=job.user_id if isinstance(job, NewJob) else ""),
    )


def _form(request: HttpRequest, fields: dict[str, Any]) -> Form:
    """What the body says, or where it says nothing the `Prefer` header (RFC 7240)."""
    if fields["stream"]:
        return Form.STREAM
    preferences = (preference.strip() for preference in request.headers.get("Prefer", "").lower().split(","))
    return Form.STORED if fields["async"] or "respond-async" in preferences else Form.ANSWER


async def _acting_team(principal: Principal, job_id: UUID) -> TeamRef:
    """The key's team, or for an operator the job's. Raises InsufficientScope, JobNotFound, TeamSuspended."""
    if principal.team is not None:
        return principal.team
    principal.require_scope("jobs")
    return _active(await team_of_job(job_id))


async def _named_team(principal: Principal, team_id: str) -> TeamRef:
    """The team in the body. Raises WrongTeam, InsufficientScope, TeamNotFound, TeamSuspended."""
    principal.require_team(team_id, scope="jobs")
    if principal.team is not None:
        return principal.team
    return _active(await async_database.in_thread(partial(team_for, principal, team_id, scope="jobs")))


def _active(team: TeamRef) -> TeamRef:
    if team.is_suspended:
        raise TeamSuspended(team.team_id)
    return team


async def _make(order: Order) -> HttpResponseBase:
    """Make the call and answer in the form that was asked for."""
    dispatched = await dispatch(order)
    headers = {"Idempotency-Replayed": "true"} if dispatched.replay else {}
    if order.form is Form.STORED:
        body = call_bodies.accepted(dispatched)
        headers["Location"] = f"/api/jobs/{body['job_id']}/calls/{body['call_id']}"
        return json_answer(body, status=202, headers=headers)
    if order.form is Form.ANSWER:
        return json_answer(call_bodies.answered(await answer(dispatched), order), headers=headers)
    events = _events(dispatched)
    # The first event is awaited here, because until then the answer can still be an error with its status.
    first = await anext(events)
    return EventStream(first, events, headers=headers)


async def _events(dispatched: Dispatched) -> AsyncGenerator[bytes, None]:
    """A stream's events. Raises DomainError, but only instead of the first one."""
    has_begun = False
    if dispatched.replay is not None:
        for replayed in call_bodies.replayed(dispatched.replay):
            yield event(call_bodies.delta(replayed))
        yield event(call_bodies.ended(dispatched.replay, dispatched.order), name="done")
        return
    async with Stream(dispatched) as messages:
        try:
            async for message in messages:
                if isinstance(message, Delta):
                    yield event(call_bodies.delta(message))
                elif has_begun or succeeded(message):
                    name = "done" if message.state == "succeeded" else "error"
                    yield event(call_bodies.ended(message, dispatched.order), name=name)
                has_begun = True
        except DomainError as error:
            if not has_begun:
                raise
            yield event(call_bodies.broken_off(dispatched, error), name="error")


class LLMCallView(ApiView):
    """The documentation of `llm_call`: the OpenAPI generator reads DRF views only."""

    @extend_schema(operation_id="llm_call", request=CallIn, responses={200: CallAnswerOut, 202: AcceptedCallOut})
    def post(self, request: Request, job_id: str) -> Response:
        """Make an LLM call within a job. The group's models are tried in order until one answers."""
        raise NotImplementedError("llm_call answers this path")


class CreateAndCallView(ApiView):
    """The documentation of `create_and_call`."""

    @extend_schema(
        operation_id="create_and_call", request=JobCallIn, responses={200: JobCallAnswerOut, 202: AcceptedCallOut}
    )
    def post(self, request: Request) -> Response:
        """Make a job of one LLM call: created, called and completed, for one credit."""
        raise NotImplementedError("create_and_call answers this path")


# What the generator looks for on a view function.
llm_call.cls = LLMCallView  # type: ignore[attr-defined]
create_and_call.cls = CreateAndCallView  # type: ignore[attr-defined]
for _view in (llm_call, create_and_call):
    _view.initkwargs = {}  # type: ignore[union-attr]
    _view.csrf_exempt = True  # type: ignore[union-attr]
