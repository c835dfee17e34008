"""From an OpenAI client's body to an order. What a provider can check, a provider checks; only what we need is read."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from rest_framework.exceptions import MethodNotAllowed

from config.foundation.api.parsers import request_json
from config.foundation.errors import InvalidInput
from jobs.api.chat import MAX_MESSAGES, ROLES
from jobs.callpath.admission import CallRequest, NewJob
from jobs.callpath.dispatch import Form, Order
from jobs.callpath.idempotency import CallKey
from jobs.callpath.limits.held import held_to
from jobs.errors import TeamKeyRequired
from jobs.queries.jobs import parse_id
from modelgroups.gateway.endpoints import CHAT, EMBEDDINGS, PROMPTS, RESPONSES
from tenancy.api.authentication import authenticate_request
from tenancy.api.idempotency import hash_request, read_idempotency_key
from tenancy.queries.principals import Principal
from tenancy.queries.users import stored_user_id

#: Names the open job that a call is made in.
JOB_HEADER = "X-Job-Id"
MAX_MODEL_LENGTH = 255
USER_FIELDS = ("user", "safety_identifier")
#: Those that cost no more than a model's price.
SERVICE_TIERS = ("auto", "default", "flex")
#: The type of a job that is made for a direct call.
DIRECT_JOB_TYPE = "direct_call"


async def read_order(request: HttpRequest, endpoint: str) -> Order:
    """Raises MethodNotAllowed, InvalidInput, PayloadTooLarge, TeamKeyRequired, and as authenticate_request.

    For a key that is restricted also KeyLacksScope, ModelNotAllowed.
    """
    if request.method != "POST":
        raise MethodNotAllowed(request.method or "")
    principal = await authenticate_request(request)
    if principal.team is None:
        raise TeamKeyRequired
    principal.require_key_scope("direct")
    body = request_json(request, settings.MAX_CALL_BODY_BYTES)
    if not isinstance(body, dict):
        raise InvalidInput("the body must be a JSON object")
    form = Form.STREAM if _flag(body, "stream") and endpoint != EMBEDDINGS else Form.ANSWER
    key = read_idempotency_key(request.headers)
    if key is not None and form is Form.STREAM:
        raise InvalidInput("an Idempotency-Key is for answers in one piece, not for streams", field="stream")
    job = _job(request, principal, body)
    in_job = str(job) if isinstance(job, UUID) else None
    model = _model(body)
    principal.require_model(model)
    return Order(
        team=principal.team,
        job=job,
        request=CallRequest(
            model_group=model,
            messages=_messages(body) if endpoint == CHAT else [],
            parameters=_parameters(body, endpoint),
            endpoint=endpoint,
            user_id=_user(body),
            key=CallKey(principal.idempotency_scope, key) if key is not None else None,
        ),
        form=form,
        request_hash=hash_request("POST", endpoint, [form, in_job, body]) if key is not None else b"",
        held=held_to(principal.team, principal, user_id=_user(body)),
    )


def _job(request: HttpRequest, principal: Principal, body: Mapping[str, Any]) -> Any:
    """The open job that is named; a new one where the team has each direct call be one; else none."""
    named = request.headers.get(JOB_HEADER)
    if named is not None:
        # Whoever knows a job's id acts in it, so this door needs the other one's key, too.
        principal.require_key_scope("jobs")
        return parse_id(named.strip(), field=JOB_HEADER)
    if principal.team is None or not principal.team.direct_calls_are_jobs:
        return None
    return NewJob(
        job_type=DIRECT_JOB_TYPE,
        user_id=_user(body),
        metadata={},
        virtual_key_id=principal.key_id,
    )


def _user(body: Mapping[str, Any]) -> str:
    """Whom the call is made for, in OpenAI's old and new words. What is no text is the provider's to refuse."""
    for name in USER_FIELDS:
        if isinstance(user := body.get(name), str) and user:
            return stored_user_id(user)
    return ""


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise InvalidInput("must be true or false", field=name)


def _model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MAX_MODEL_LENGTH:
        raise InvalidInput("you must provide a model", field="model")
    return model


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not 0 < len(messages) <= MAX_MESSAGES:
        raise InvalidInput(f"must be a list of 1 to {MAX_MESSAGES} messages", field="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise InvalidInput(f"must be an object whose role is one of {', '.join(ROLES)}", field=f"messages.{index}")
    return messages


def _parameters(body: Mapping[str, Any], endpoint: str) -> dict[str, Any]:
    """Everything else, as it is."""
    prompt = PROMPTS[endpoint]
    # `responses` may also have a stored prompt of the provider's, and no input.
    if endpoint != CHAT and not body.get(prompt) and "prompt" not in body:
        raise InvalidInput(f"you must provide {prompt}", field=prompt)
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise InvalidInput("must be an object", field="stream_options")
    _check_what_it_costs(body, endpoint)
    return {name: value for name, value in body.items() if name not in ("model", "messages", "stream")}


def _check_what_it_costs(body: Mapping[str, Any], endpoint: str) -> None:
    """Refuse what would cost otherwise than our books say, or later than they look."""
    tier = body.get("service_tier")
    if tier is not None and tier not in SERVICE_TIERS:
        raise InvalidInput(f"must be one of {', '.join(SERVICE_TIERS)}: others have other prices", field="service_tier")
    if endpoint == RESPONSES and _flag(body, "background"):
        raise InvalidInput("a response in the background is not supported", field="background")
