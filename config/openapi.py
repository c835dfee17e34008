"""The OpenAPI document: every error answer of every operation, and how to authenticate."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema as BaseAutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers

from config.foundation.api.openai_errors import PREFIX, is_openai_path

ERROR = inline_serializer(
    "Error",
    {
        "detail": serializers.CharField(),
        "code": serializers.CharField(),
        "request_id": serializers.CharField(),
        "errors": serializers.ListField(child=serializers.DictField(child=serializers.CharField()), required=False),
    },
)

OPENAI_ERROR = inline_serializer(
    "OpenAIError",
    {
        "error": inline_serializer(
            "OpenAIErrorObject",
            {
                "message": serializers.CharField(),
                "type": serializers.CharField(),
                "param": serializers.CharField(allow_null=True),
                "code": serializers.CharField(allow_null=True),
            },
        )
    },
)

#: Where team, key or the team's users have limits.
LIMIT_HEADERS = [
    OpenApiParameter(
        f"x-ratelimit-{figure}-{kind}", kept, OpenApiParameter.HEADER, response=True, description=f"{text} ({kind})."
    )
    for kind in ("requests", "tokens")
    for figure, kept, text in (
        ("limit", int, "The tightest limit per minute, of team, key and user"),
        ("remaining", int, "What is left of it"),
        ("reset", str, "How long until all of it is there again, such as 1m0s"),
    )
]

#: Status → when. Every operation may give the first group; the others by method and path.
ALWAYS = {"401": "No key, or not a valid one", "403": "The key may not do this", "503": "A dependency is away"}
WITH_INPUT = {"400": "Invalid input", "413": "The body is too large"}


def each_path_once(endpoints: list[Any]) -> list[Any]:
    """OpenAI's paths are there with `/v1` and without; the document has them with it."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith(("/api/", "/health", f"{PREFIX}/"))]


class AutoSchema(BaseAutoSchema):
    """drf-spectacular's, with the project's errors and headers."""

    def get_tags(self) -> list[str]:
        """Group operations by what they are about."""
        parts = [part for part in self.path.split("/") if part and part != "api" and "{" not in part]
        return ["openai" if is_openai_path(self.path) else parts[0]]

    def get_override_parameters(self) -> list[OpenApiParameter]:
        """`Idempotency-Key` where it is honoured, and the answer's headers where calls are counted."""
        if self.method != "POST" or not self._is_idempotent():
            return []
        counted = is_openai_path(self.path) or self.path.endswith(("/llm-call", "/create-and-call"))
        return [
            *(LIMIT_HEADERS if counted else []),
            OpenApiParameter(
                "Idempotency-Key",
                str,
                OpenApiParameter.HEADER,
                description="Repeating a request with the same key answers the same and does nothing again.",
            ),
        ]

    def _is_idempotent(self) -> bool:
        return not self.path.endswith(("/check", "/revoke"))

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        """The success as the view declares it, and the errors that this kind of operation gives.

        Overridden here and not at `get_response_serializers`, which `extend_schema` replaces.
        """
        bodies = super()._get_response_bodies(direction)
        shape = OPENAI_ERROR if is_openai_path(self.path) else ERROR
        for code, why in self._errors().items():
            bodies[code] = self._get_response_for_code(OpenApiResponse(shape, why), code, direction=direction)
        return bodies

    def _errors(self) -> dict[str, str]:
        errors = dict(ALWAYS)
        if "{" in self.path or "organization_id" in self.path or self.path.endswith("/teams/create"):
            errors["404"] = "Not found"
        if self.method in ("POST", "PUT", "PATCH") or "{" in self.path:
            errors |= WITH_INPUT if self.method in ("POST", "PUT", "PATCH") else {"400": "Invalid input"}
        if self.path.endswith(("/jobs/create", "/create-and-call")):
            errors["402"] = "Insufficient credits, or the user's limit is reached"
        conflicts = ("/llm-call", "/create-and-call", "/complete", "/rotate", "/keys/{key_id}", "/users/{user_id}")
        if (self.path.endswith(conflicts) and self.method != "GET") or self.method == "DELETE":
            errors["409"] = "The state contradicts it"
        if self.method == "POST" and self._is_idempotent():
            errors |= {"409": "The state contradicts it", "422": "The Idempotency-Key was used for another request"}
        if self.path.endswith(("/llm-call", "/create-and-call")):
            errors |= {"402": "Too few credits, or the budget is exhausted, or a limit of the user's is reached"}
            errors |= {"429": "Too many calls in flight, or a rate limit is reached", "500": "LLM call failed"}
        if is_openai_path(self.path) and self.method == "POST":
            errors |= {
                "404": "Job not found",
                "402": "The budget is exhausted, or a limit of the user's is reached",
                "429": "Too many calls, or a rate limit is reached",
                "500": "Call failed",
            }
        return dict(sorted(errors.items()))


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """The two ways to send a key."""

    target_class = "tenancy.api.authentication.ApiKeyAuthentication"
    name = ["virtualKey", "operatorKey"]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        """Both schemes."""
        return [
            {"type": "http", "scheme": "bearer", "description": "A team's virtual key, or an operator key."},
            {"type": "apiKey", "in": "header", "name": "X-Admin-Key", "description": "An operator key."},
        ]
