"""Refusals and failures of jobs and calls. The texts are the guide's where it prints one."""

from decimal import Decimal
from enum import StrEnum

from config.foundation.errors import DomainError
from modelgroups.gateway.errors import REQUESTS_OWN_FAULT, TEXTS, Cause
from tenancy.errors import NotFound


class JobNotFound(NotFound):
    """No such job, or another team's: the answers are the same."""

    def __init__(self) -> None:
        super().__init__("Job not found")


class CallNotFound(NotFound):
    """The job has no such call."""

    def __init__(self, call_id: str) -> None:
        super().__init__(f"Call '{call_id}' not found in this job")


class ModelGone(NotFound):
    """Its group has other models by now."""

    def __init__(self) -> None:
        super().__init__("This model is no longer in its group; open the group again")


class JobAlreadyEnded(DomainError):
    """The job's state is final and contradicts what was asked."""

    code = "job_already_ended"

    def __init__(self, status: str, wanted: str) -> None:
        super().__init__(f"Job is already {status}; {wanted}")


class CallInProgress(DomainError):
    """A job cannot complete while one of its calls is running."""

    code = "call_in_progress"
    retry_after_s = 1

    def __init__(self, count: int) -> None:
        super().__init__(f"Job is in_progress: {count} call(s) still running")


class NotRetryable(DomainError):
    """`retry_of` names a call that did not fail, or that has been retried already."""

    code = "not_retryable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"retry_of: {reason}")


class Failure(StrEnum):
    """Why a call failed that no model is to blame for; `gateway.errors.Cause` has the others."""

    INTERRUPTED = "interrupted"
    NOT_STARTED = "not_started"
    DEADLINE = "deadline"
    NO_MODELS = "no_models"
    INTERNAL = "internal"


_FAILURE_TEXTS = {
    Failure.INTERRUPTED: "The call was interrupted",
    Failure.NOT_STARTED: "The call could not be started in time",
    Failure.DEADLINE: "The call did not end in time",
    Failure.NO_MODELS: "The model group has no models",
    Failure.INTERNAL: "An internal error",
}


#: Both kinds of cause, by name.
_TEXTS = {str(cause): text for cause, text in (*TEXTS.items(), *_FAILURE_TEXTS.items())}


def cause_text(cause: str) -> str:
    """What a cause says in our own words, for operators; its name where it is none of ours."""
    return _TEXTS.get(cause, cause)


def failure_text(cause: str) -> str:
    """What a client reads: the guide's prefix and the cause in our own words. Raises KeyError for no cause of ours."""
    return f"LLM call failed: {_TEXTS[cause]}"


class LLMCallFailed(DomainError):
    """Every model of the group failed, or the call was cut short. The call is on record as failed."""

    code = "llm_call_failed"

    def __init__(self, cause: str) -> None:
        super().__init__(failure_text(cause))
        self.cause = cause


class LLMRequestRefused(LLMCallFailed):
    """The request itself was at fault, so no fallback was tried. The call is on record as failed."""

    code = "llm_request_refused"


class BudgetExhausted(LLMCallFailed):
    """LiteLLM Proxy has seen the team's budget spent. The call is on record as failed; credits raise the budget."""

    code = "budget_exhausted"


class BudgetTooSmall(DomainError):
    """What is left of the team's budget does not cover what the call may cost. Nothing was dispatched."""

    code = "budget_exhausted"

    def __init__(self, *, limit_usd: Decimal, spent_usd: Decimal, reserved_usd: Decimal, estimate_usd: Decimal) -> None:
        super().__init__(
            f"The team's budget is exhausted: of ${limit_usd:.2f}, ${spent_usd:.6f} is spent and ${reserved_usd:.6f} "
            f"reserved for calls that run, and this call may cost ${estimate_usd:.6f}. Credits raise the budget"
        )


class ModelAccessDenied(DomainError):
    """No active group of the team has or is a model of this name: one answer for all that do not exist, too."""

    code = "model_access_denied"

    def __init__(self, team_id: str, model: str) -> None:
        super().__init__(f"Team '{team_id}' does not have access to model '{model}'")


class UnknownModel(NotFound):
    """The team has no such model to look at."""

    def __init__(self, model: str) -> None:
        super().__init__(f"The model '{model}' does not exist, or your team does not have access to it")


class TeamKeyRequired(DomainError):
    """An OpenAI-compatible call is always a team's, so an operator's key makes none."""

    code = "team_key_required"

    def __init__(self) -> None:
        super().__init__("This endpoint needs a team's key")


def call_failed(cause: str) -> LLMCallFailed:
    """The error for a failed call's cause."""
    if cause == Cause.BUDGET_EXHAUSTED:
        return BudgetExhausted(cause)
    if cause == Failure.INTERRUPTED:
        return CallInterrupted(cause)
    return LLMRequestRefused(cause) if cause in REQUESTS_OWN_FAULT else LLMCallFailed(cause)


class CallInterrupted(LLMCallFailed):
    """The worker that ran the call died. The call is on record as interrupted, and may be made again."""

    code = "call_interrupted"
    retry_after_s = 1


class TooManyCalls(DomainError):
    """The team, or whoever else calls are counted of, has as many calls waiting or running as it may."""

    code = "too_many_requests"
    retry_after_s = 1

    def __init__(self, limit: int, owner: str = "team") -> None:
        super().__init__(f"Too many requests: at most {limit} calls of a {owner} may be in flight")


class RateLimited(DomainError):
    """As many requests, or tokens, as may be within a minute. `cause` says which: "requests_per_minute"."""

    code = "rate_limited"

    def __init__(self, *, kind: str, limit: int, owner: str, retry_after_s: int) -> None:
        super().__init__(
            f"Rate limit reached: this {owner} may take {limit} {kind} per minute. Try again in {retry_after_s} s"
        )
        self.cause = f"{kind}_per_minute"
        self.retry_after_s = retry_after_s


class CallExceedsLimit(DomainError):
    """The call alone may take more tokens than may be taken within a minute, so trying it again is of no use."""

    code = "call_exceeds_limit"

    def __init__(self, *, tokens: int, limit: int, owner: str) -> None:
        super().__init__(
            f"Request too large: it may take {tokens} tokens, and this {owner} may take {limit} tokens per minute. "
            "Shorten it, or set a smaller max_tokens"
        )
        self.cause = "tokens_per_minute"


class Overloaded(DomainError):
    """More calls wait for a worker than can be served in time."""

    code = "overloaded"
    retry_after_s = 2

    def __init__(self) -> None:
        super().__init__("Service temporarily unavailable: too many calls are waiting")


class AnswerLost(DomainError):
    """The call ended, but its answer was lost on the way; the call's record says how it ended."""

    code = "answer_lost"
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("Service temporarily unavailable: the answer was lost on the way")
