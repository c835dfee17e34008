"""Why an attempt failed, in our own words: a provider's text may hold its URL, a key or a model's name."""

from enum import StrEnum

from modelgroups.gateway.types import Usage


class Cause(StrEnum):
    """The stable name of a cause; `CAUSES` says the rest."""

    RATE_LIMITED = "rate_limited"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    PROVIDER_ERROR = "provider_error"
    MALFORMED_ANSWER = "malformed_answer"
    AUTHENTICATION = "authentication"
    MODEL_NOT_FOUND = "model_not_found"
    CONFLICT = "conflict"
    REQUEST_REFUSED = "request_refused"
    CONTENT_POLICY = "content_policy"
    CONTEXT_WINDOW = "context_window"
    CUT_SHORT = "cut_short"
    CLIENT_GONE = "client_gone"
    UNEXPECTED = "unexpected"
    BUDGET_EXHAUSTED = "budget_exhausted"
    NOT_IN_STEP = "not_in_step"
    UNSUPPORTED = "unsupported"


#: What a client reads after "LLM call failed: ".
TEXTS = {
    Cause.RATE_LIMITED: "Rate limit exceeded",
    Cause.TIMEOUT: "The model did not answer in time",
    Cause.UNREACHABLE: "The provider could not be reached",
    Cause.PROVIDER_ERROR: "The provider had an internal error",
    Cause.MALFORMED_ANSWER: "The provider's answer could not be read",
    Cause.AUTHENTICATION: "The provider refused our credentials",
    Cause.MODEL_NOT_FOUND: "The model is not available",
    Cause.CONFLICT: "The provider was busy with a conflicting request",
    Cause.REQUEST_REFUSED: "The provider refused the request as invalid",
    Cause.CONTENT_POLICY: "The provider's content policy refused the request",
    Cause.CONTEXT_WINDOW: "The request is too long for the model",
    Cause.CUT_SHORT: "The model's answer broke off",
    Cause.CLIENT_GONE: "The client left before the answer's end",
    Cause.UNEXPECTED: "The model could not be asked",
    Cause.BUDGET_EXHAUSTED: "The team's budget is exhausted",
    Cause.NOT_IN_STEP: "The team is not fully provisioned yet",
    Cause.UNSUPPORTED: "The model does not support this endpoint",
}

#: The request's own fault: another model would say the same, so no fallback (contract, "Fallbacks").
REQUESTS_OWN_FAULT = frozenset({Cause.REQUEST_REFUSED, Cause.CONTENT_POLICY, Cause.CONTEXT_WINDOW})


_CAUSES_BY_STATUS = {
    401: Cause.AUTHENTICATION,
    403: Cause.AUTHENTICATION,
    404: Cause.MODEL_NOT_FOUND,
    408: Cause.TIMEOUT,
    409: Cause.CONFLICT,
    429: Cause.RATE_LIMITED,
}


def cause_of_status(status: int) -> Cause:
    """The cause that an HTTP status speaks of."""
    if status in _CAUSES_BY_STATUS:
        return _CAUSES_BY_STATUS[status]
    return Cause.REQUEST_REFUSED if 400 <= status < 500 else Cause.PROVIDER_ERROR


class AttemptFailed(Exception):
    """One model did not answer usably.

    `http_status` and `error_class` are for operators. `usage` is what the provider said it charged all the same, and
    `retry_after_s` when it may be asked again. Where a piece of the answer is with the client already, no other model
    `can_fall_back`.
    """

    def __init__(
        self,
        cause: Cause,
        *,
        error_class: str,
        http_status: int | None = None,
        usage: Usage | None = None,
        can_fall_back: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(TEXTS[cause])
        self.cause = cause
        self.error_class = error_class
        self.http_status = http_status
        self.usage = usage or Usage()
        self.can_fall_back = can_fall_back
        self.retry_after_s = retry_after_s
