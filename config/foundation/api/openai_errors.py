"""The shape and the words of errors on OpenAI-compatible paths."""

from typing import Any

#: Below `/v1`, and the same without it: the guide's base URL has none.
ENDPOINTS = ("/chat/completions", "/completions", "/embeddings", "/responses", "/models")
PREFIX = "/v1"

#: Our code, or a failed call's cause → OpenAI's type and code, where clients look for these.
_WORDS = {
    "missing_credentials": ("invalid_request_error", "invalid_api_key"),
    "invalid_api_key": ("invalid_request_error", "invalid_api_key"),
    "budget_exhausted": ("insufficient_quota", "insufficient_quota"),
    "insufficient_credits": ("insufficient_quota", "insufficient_quota"),
    "user_limit_reached": ("insufficient_quota", "insufficient_quota"),
    "too_many_requests": ("rate_limit_error", "rate_limit_exceeded"),
    "rate_limited": ("rate_limit_error", "rate_limit_exceeded"),
    "requests_per_minute": ("requests", "rate_limit_exceeded"),
    "tokens_per_minute": ("tokens", "rate_limit_exceeded"),
    "unsupported": ("invalid_request_error", "unsupported_endpoint"),
    "context_window": ("invalid_request_error", "context_length_exceeded"),
    "content_policy": ("invalid_request_error", "content_policy_violation"),
}
_SERVER_ERRORS = frozenset(
    {
        "llm_call_failed", "call_interrupted", "answer_lost", "dependency_unavailable", "overloaded", "internal_error",
    }
)  # fmt: skip


def is_openai_path(path: str) -> bool:
    """Whether OpenAI's clients call it, be it with a slash too many."""
    below = path.removeprefix(PREFIX) if path.startswith(f"{PREFIX}/") else path
    return path == PREFIX or below != path or below.rstrip("/") in ENDPOINTS or below.startswith("/models/")


def openai_error(message: str, code: str, *, cause: str | None = None, param: str | None = None) -> dict[str, Any]:
    """The object in `{"error": …}`."""
    default = ("server_error" if code in _SERVER_ERRORS else "invalid_request_error", code)
    error_type, error_code = _WORDS.get(cause or "", _WORDS.get(code, default))
    return {"message": message, "type": error_type, "param": param, "code": error_code}
