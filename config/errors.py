"""The only table from error codes to HTTP statuses, and the one shape of every error answer.

    {"detail": "<text>", "code": "<stable code>", "request_id": "<id>", "errors": [{"field", "message", "code"}]}

`errors` is there for invalid payloads only. OpenAI-compatible paths have OpenAI's shape instead, `{"error": {"message",
"type", "param", "code"}}`. The rules are the contract's ("Status codes").
"""

import logging
from collections.abc import Iterator
from typing import Any

import psycopg
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response

from config.foundation.api.openai_errors import is_openai_path, openai_error
from config.foundation.errors import DependencyUnavailable, DomainError

logger = logging.getLogger(__name__)

STATUS = {
    # 400: the client's input
    "invalid_request": 400,
    "organization_exists": 400,
    "team_exists": 400,
    "model_group_exists": 400,
    "model_price_unknown": 400,
    "llm_request_refused": 400,
    # 401, 402, 403: who may
    "missing_credentials": 401,
    "invalid_api_key": 401,
    "budget_exhausted": 402,
    "user_limit_reached": 402,
    "wrong_team": 403,
    "team_suspended": 403,
    "operator_required": 403,
    "insufficient_scope": 403,
    "address_not_allowed": 403,
    "model_not_allowed": 403,
    "model_group_access_denied": 403,
    "model_access_denied": 403,
    "team_key_required": 403,
    "user_blocked": 403,
    # 404, 405, 406, 409, 413, 415, 422
    "not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "job_already_ended": 409,
    "call_in_progress": 409,
    "not_retryable": 409,
    "model_group_in_use": 409,
    "credential_exists": 409,
    "credential_in_use": 409,
    "key_already_revoked": 409,
    "credit_limit_exceeded": 409,
    "refills_refused": 409,
    "user_erased": 409,
    "idempotency_key_in_flight": 409,
    "webhook_endpoint_disabled": 409,
    "too_many_webhook_endpoints": 409,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "idempotency_key_reused": 422,
    "too_many_requests": 429,
    "rate_limited": 429,
    "call_exceeds_limit": 429,
    # 500, 503
    "llm_call_failed": 500,
    "dependency_unavailable": 503,
    "answer_lost": 503,
    "call_interrupted": 503,
    "overloaded": 503,
}


#: On OpenAI-compatible paths, what their clients make something of: by a failed call's cause.
OPENAI_STATUS = {"rate_limited": 429, "unsupported": 400}
#: Of the statuses at which OpenAI's clients try again, those where that is of no use.
_NOT_TO_BE_RETRIED = frozenset(
    {"budget_exhausted", "insufficient_credits", "job_already_ended", "call_exceeds_limit", "user_limit_reached"}
)


def status_of(code: str) -> int:
    """The HTTP status of a domain error's code. Raises KeyError for one that has no row yet."""
    # Configurable, because the guide's sample handler expects 500 where 402 is right.
    is_about_money = code in {"insufficient_credits", "budget_exhausted", "user_limit_reached"}
    return settings.INSUFFICIENT_CREDITS_STATUS if is_about_money else STATUS[code]


def error_body(
    detail: str,
    code: str,
    request: HttpRequest | None,
    errors: list[Any] | None = None,
    *,
    cause: str | None = None,
) -> dict[str, Any]:
    """The shape above: of the two, the path's."""
    if _is_openai(request):
        param = errors[0]["field"] or None if errors else None
        return {"error": openai_error(detail, code, cause=cause, param=param)}
    body: dict[str, Any] = {"detail": detail, "code": code, "request_id": getattr(request, "request_id", None)}
    if errors:
        body["errors"] = errors
    return body


def _is_openai(request: HttpRequest | None) -> bool:
    return request is not None and is_openai_path(request.path_info)


def error_response(error: DomainError, request: HttpRequest) -> JsonResponse:
    """A domain error as a plain Django answer, for the places where DRF does not run."""
    status, body, headers = _describe(error, request)
    return JsonResponse(body, status=status, headers=headers)


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER. Returns None for a bug, which then becomes a logged 500."""
    request = context.get("request")
    described = _describe(error, getattr(request, "_request", request))
    if described is None:
        return None
    status, body, headers = described
    return Response(body, status=status, headers=headers)


def _describe(error: Exception, request: HttpRequest | None) -> Any:
    """(status, body, headers) of an error that is the client's or a dependency's, None for a bug."""
    if isinstance(error, OperationalError | InterfaceError | psycopg.OperationalError):
        logger.warning("database unavailable: %s", error)
        error = DependencyUnavailable("database")
    if isinstance(error, DomainError):
        return _describe_domain_error(error, request)
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, exceptions.ValidationError):
        found = list(_flatten(error.get_full_details()))
        first = found[0]
        detail = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
        return 400, error_body(detail, "invalid_request", request, found), {}
    if isinstance(error, exceptions.APIException):
        code = {"parse_error": "invalid_request", "error": "invalid_request"}.get(
            error.default_code, error.default_code
        )
        wait_s = getattr(error, "wait", None)
        headers = {"Retry-After": str(int(wait_s))} if wait_s else {}
        return error.status_code, error_body(str(error.detail), code, request), headers
    if isinstance(error, DatabaseError) and "numeric value out of range" in str(error):
        return 400, error_body("A number is out of range", "invalid_request", request), {}
    return None


def _describe_domain_error(error: DomainError, request: HttpRequest | None) -> Any:
    status, cause = status_of(error.code), getattr(error, "cause", None)
    headers = {}
    if _is_openai(request):
        status = OPENAI_STATUS.get(cause or "", status)
        if error.code in _NOT_TO_BE_RETRIED:
            headers["x-should-retry"] = "false"
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    body = error_body(str(error), error.code, request, getattr(error, "errors", None), cause=cause)
    return status, body, headers


def _flatten(details: Any, path: str = "") -> Iterator[dict[str, str]]:
    """DRF's nested error details as a flat list with dotted paths ("models.0.model_name")."""
    if isinstance(details, dict) and "message" in details and "code" in details and isinstance(details["message"], str):
        yield {"field": path, "message": details["message"], "code": details["code"]}
    elif isinstance(details, dict):
        for name, inner in details.items():
            here = path if name == "non_field_errors" else f"{path}.{name}" if path else str(name)
            yield from _flatten(inner, here)
    elif isinstance(details, list):
        for index, inner in enumerate(details):
            # A list of plain messages belongs to the field; a list of dictionaries is a list of items.
            is_message = isinstance(inner, dict) and isinstance(inner.get("message"), str) and "code" in inner
            if inner:
                yield from _flatten(inner, path if is_message else f"{path}.{index}" if path else str(index))


def not_found(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    """handler404: no such path."""
    return JsonResponse(error_body("Not found", "not_found", request), status=404)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    """handler400: a request that Django itself refused (a host it does not serve, for one)."""
    return JsonResponse(error_body("Bad request", "invalid_request", request), status=400)


def server_error(request: HttpRequest) -> JsonResponse:
    """handler500: a bug of ours. The log has it under the request's id."""
    return JsonResponse(error_body("Internal server error", "internal_error", request), status=500)
