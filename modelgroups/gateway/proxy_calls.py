"""What is different about a model that is asked at LiteLLM Proxy: the POST is the same (`openai_http`)."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from modelgroups.gateway.errors import AttemptFailed, Cause, cause_of_status
from modelgroups.gateway.types import ProxyRoute

#: One layer of retries and fallbacks, which is ours. The proxy takes these for itself; no provider sees them.
SWITCHES: Mapping[str, Any] = {"num_retries": 0, "disable_fallbacks": True}
#: What the proxy counted the answer as; of a stream it says so in the last chunk's `usage.cost` instead.
COST_HEADER = "x-litellm-response-cost"
#: Until the synchronizer, which was told, has had its turn.
IN_STEP_AFTER_S = 2.5

#: The proxy's own refusals, by `error.type`. A provider's come with other types, though with the same statuses.
_BUDGET = "budget_exceeded"
_NOT_IN_STEP = frozenset(
    {"token_not_found_in_db", "expired_key", "auth_error", "key_model_access_denied", "team_model_access_denied"}
)
#: What LiteLLM writes into the text of a 400 that has a cause of its own.
_CAUSES_BY_TEXT = {
    "Invalid model name passed in": Cause.MODEL_NOT_FOUND,
    "ContextWindowExceededError": Cause.CONTEXT_WINDOW,
    "ContentPolicyViolationError": Cause.CONTENT_POLICY,
}


def failure(status: int, error: Any, route: ProxyRoute, *, retry_after_s: float | None) -> AttemptFailed:
    """Why the proxy did not answer, of its error object.

    A key or a model that it does not know is our own delay, most often, and so is a budget while a change of ours is
    on its way: the same may be asked again in a moment.
    """
    error = error if isinstance(error, dict) else {}
    error_type, text = str(error.get("type")), str(error.get("message"))
    if error_type == _BUDGET and route.is_in_step:
        return AttemptFailed(
            Cause.BUDGET_EXHAUSTED, error_class="BudgetExceeded", http_status=status, can_fall_back=False
        )
    if error_type in _NOT_IN_STEP or error_type == _BUDGET:
        return not_in_step(error_type, status=status)
    cause = cause_of_status(status)
    if status == 400:
        cause = next((found for part, found in _CAUSES_BY_TEXT.items() if part in text), cause)
    return AttemptFailed(cause, error_class="APIStatusError", http_status=status, retry_after_s=retry_after_s)


def not_in_step(reason: str, *, status: int | None = None) -> AttemptFailed:
    """The proxy does not know (yet) what it should of the team."""
    return AttemptFailed(Cause.NOT_IN_STEP, error_class=reason[:64], http_status=status, retry_after_s=IN_STEP_AFTER_S)


def with_cost(answer: Mapping[str, Any], headers: Mapping[str, str]) -> Mapping[str, Any]:
    """An answer in one piece, with its cost where a streamed one has it."""
    usage = answer.get("usage")
    return {**answer, "usage": {**(usage if isinstance(usage, dict) else {}), "cost": headers.get(COST_HEADER)}}


def cost_usd(reported: Mapping[str, Any]) -> Decimal | None:
    """As the proxy counted it. None where it does not say, or says 0, as it does of a price that it does not know."""
    try:
        cost = Decimal(str(reported.get("cost")))
    except InvalidOperation:
        return None
    return cost if cost.is_finite() and cost > 0 else None
