"""`llm-call`: a coroutine view, because it waits (config/asgi.py runs it where it is, without a thread)."""

from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request
from rest_framework.response import Response

from config.foundation.api.coroutine_views import error_answer, json_answer
from config.foundation.api.parsers import request_json
from jobs.api.serializers import CallAnswerOut, CallIn
from jobs.callpath.dispatch import CallRequest, make_call, make_call_once
from jobs.callpath.idempotency import CallKey
from jobs.callpath.replies import Reply
from jobs.queries.jobs import parse_job_id, team_of_job
from tenancy.api.authentication import authenticate_request
from tenancy.api.base import ApiView
from tenancy.api.idempotency import hash_request, read_idempotency_key
from tenancy.errors import TeamSuspended
from tenancy.queries.principals import Principal, TeamRef

#: What is passed on to the model, by OpenAI's and LiteLLM's names.
MODEL_PARAMETERS = (
    "temperature", "max_tokens", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop",
    "tools", "tool_choice", "response_format",
)  # fmt: skip
#: One for all calls: it keeps no state, and to make one copies every field.
_CALL_IN = CallIn()


async def llm_call(request: HttpRequest, job_id: str) -> HttpResponseBase:
    """POST /api/jobs/{job_id}/llm-call; LLMCallView documents it."""
    try:
        if request.method != "POST":
            raise MethodNotAllowed(request.method or "")
        return await _answer(request, job_id)
    except Exception as error:  # noqa: BLE001 (error_answer raises again what is a bug)
        return error_answer(error, request)


async def _answer(request: HttpRequest, job_id: str) -> HttpResponseBase:
    principal = await authenticate_request(request)
    job = parse_job_id(job_id)
    payload = request_json(request, settings.MAX_CALL_BODY_BYTES)
    call = _read_call(payload)
    team = await _acting_team(principal, job)
    key = read_idempotency_key(request.headers)
    if key is None:
        reply, is_replay = await make_call(team=team, job_id=job, request=call), False
    else:
        reply, is_replay = await make_call_once(
            team=team,
            job_id=job,
            request=call,
            key=CallKey(principal.idempotency_scope, key),
            request_hash=hash_request("POST", request.path, payload),
        )
    return json_answer(_body(reply, call), headers={"Idempotency-Replayed": "true"} if is_replay else None)


def _read_call(payload: object) -> CallRequest:
    """Raises ValidationError."""
    fields = _CALL_IN.run_validation(payload)
    return CallRequest(
        model_group=fields["model_group"],
        messages=fields["messages"],
        parameters={name: fields[name] for name in MODEL_PARAMETERS if fields.get(name) is not None},
        purpose=fields["purpose"],
        retry_of=fields["retry_of"],
    )


async def _acting_team(principal: Principal, job_id: UUID) -> TeamRef:
    """The key's team, or for an operator the job's. Raises InsufficientScope, JobNotFound, TeamSuspended."""
    if principal.team is not None:
        return principal.team
    principal.require_scope("jobs")
    team = await team_of_job(job_id)
    if team.is_suspended:
        raise TeamSuspended(team.team_id)
    return team


def _body(reply: Reply, call: CallRequest) -> dict[str, object]:
    """CallAnswerOut."""
    response: dict[str, object] = {"content": reply.content, "finish_reason": reply.finish_reason}
    if reply.tool_calls:
        response["tool_calls"] = reply.tool_calls
    return {
        "call_id": reply.call_id,
        "response": response,
        "metadata": {
            "tokens_used": reply.tokens,
            "latency_ms": reply.latency_ms,
            "model_group": call.model_group,
        },
    }


class LLMCallView(ApiView):
    """The documentation of `llm_call`: the OpenAPI generator reads DRF views only."""

    @extend_schema(operation_id="llm_call", request=CallIn, responses=CallAnswerOut)
    def post(self, request: Request, job_id: str) -> Response:
        """Make an LLM call within a job. The group's models are tried in order until one answers."""
        raise NotImplementedError("llm_call answers this path")


# What the generator looks for on a view function.
llm_call.cls = LLMCallView  # type: ignore[attr-defined]
llm_call.initkwargs = {}  # type: ignore[attr-defined]
llm_call.csrf_exempt = True  # type: ignore[attr-defined]
