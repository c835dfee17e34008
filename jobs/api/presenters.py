"""From rows to the API's shapes. Plain functions: DRF's field machinery costs ten times as much on long lists."""

from collections.abc import Mapping
from typing import Any

from billing.models import CreditHold
from billing.proxy.spend import DirectSpend
from billing.queries.balances import Budget
from jobs.errors import call_failed
from jobs.models import Attempt, Call
from jobs.queries.completion import Completion, is_part_of_completion
from jobs.queries.usage import DirectTotals, Totals, Usage
from tenancy.models import TeamUser, UserLimit
from tenancy.queries.users import Allowance, allowances_of


def completion_body(completion: Completion) -> dict[str, Any]:
    """CompletionOut: the same whenever it is asked for."""
    return {
        "job_id": completion.job_id,
        "status": completion.status,
        "completed_at": completion.completed_at,
        "costs": {
            "total_calls": len(completion.calls),
            "successful_calls": completion.successful_calls,
            "failed_calls": completion.failed_calls,
            "superseded_calls": completion.superseded_calls,
            "cancelled_calls": completion.cancelled_calls,
            "running_calls": completion.running_calls,
            "total_tokens": completion.total_tokens,
            "total_cost_usd": completion.total_cost_usd,
            "avg_latency_ms": completion.avg_latency_ms,
            "credit_applied": completion.credit_applied,
            "credits_remaining": completion.credits_remaining,
        },
        "calls": [_completed_call(call) for call in completion.calls],
    }


def _completed_call(call: Call) -> dict[str, Any]:
    had_ended = is_part_of_completion(call)
    return {
        "call_id": call.id,
        "purpose": call.purpose or None,
        "model_group": call.model_group,
        "tokens": call.tokens if had_ended else 0,
        "latency_ms": call.latency_ms if had_ended else None,
        "error": (call.error or None) if had_ended else "The call was still running when the job ended",
    }


def job_summary(job: Any) -> dict[str, Any]:
    """JobSummaryOut of a job with hold and cost columns."""
    return {
        "job_id": job.id,
        "team_id": job.team.team_id,
        "user_id": job.user_id or None,
        "job_type": job.job_type,
        "status": job.status,
        "metadata": job.metadata,
        "error_message": job.error_message or None,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "completed_at": job.ended_at,
        "total_cost_usd": job.total_cost_usd,
        "credit_applied": job.hold_state == CreditHold.State.CAPTURED,
    }


def job_body(job: Any, calls: list[Call]) -> dict[str, Any]:
    """JobOut: everything, late calls included."""
    return {
        **job_summary(job),
        "total_tokens": sum(call.tokens for call in calls),
        "calls": [call_in_job(call) for call in calls],
    }


def call_in_job(call: Call) -> dict[str, Any]:
    """CallOut."""
    return {
        "call_id": call.id,
        "purpose": call.purpose or None,
        "model_group": call.model_group,
        "state": call.state,
        "tokens": call.tokens,
        "cost_usd": call.cost_usd,
        "latency_ms": call.latency_ms,
        "error": call.error or None,
        "retry_of": call.retry_of_id,
        "created_at": call.created_at,
        "ended_at": call.ended_at,
    }


def call_detail(call: Call) -> dict[str, Any]:
    """CallDetailOut, but for its response."""
    return {
        "call_id": call.id,
        "job_id": call.job_id,
        "state": call.state,
        "purpose": call.purpose or None,
        "retry_of": call.retry_of_id,
        "created_at": call.created_at,
        "started_at": call.started_at,
        "ended_at": call.ended_at,
        "error": call.error or None,
        "code": call_failed(call.cause).code if call.cause else None,
        "metadata": {"tokens_used": call.tokens, "latency_ms": call.latency_ms, "model_group": call.model_group},
    }


def attempt_body(attempt: Attempt) -> dict[str, Any]:
    """AttemptOut."""
    return {
        "sequence": attempt.sequence,
        "model_name": attempt.model_name,
        "outcome": attempt.outcome,
        "cause": attempt.cause or None,
        "error_class": attempt.error_class or None,
        "http_status": attempt.http_status,
        "prompt_tokens": attempt.prompt_tokens,
        "completion_tokens": attempt.completion_tokens,
        "usage_is_estimated": attempt.usage_is_estimated,
        "cost_usd": attempt.cost_usd,
        "latency_ms": attempt.latency_ms,
        "started_at": attempt.started_at,
    }


def usage_summary(usage: Usage) -> dict[str, Any]:
    """UsageSummaryOut."""
    return {**totals_body(usage.summary), "credits_used": usage.credits_used}


def totals_body(totals: Totals) -> dict[str, Any]:
    """TotalsOut."""
    return {
        "total_jobs": totals.total_jobs,
        "successful_jobs": totals.successful_jobs,
        "failed_jobs": totals.failed_jobs,
        "total_cost_usd": totals.total_cost_usd,
        "total_tokens": totals.total_tokens,
        "avg_cost_per_job": totals.avg_cost_per_job,
    }


def direct_body(direct: DirectTotals) -> dict[str, Any]:
    """DirectUsageOut."""
    return vars(direct)


def budget_body(budget: Budget) -> dict[str, Any]:
    """BudgetOut."""
    return {
        "limit_usd": budget.limit_usd,
        "spent_usd": budget.spent_usd,
        "reserved_usd": budget.reserved_usd,
        "remaining_usd": budget.remaining_usd,
    }


def proxy_spend_body(spent: DirectSpend | None) -> dict[str, Any]:
    """ProxySpendOut, where there is a proxy."""
    if spent is None:
        return {}
    return {
        "litellm_proxy": {
            "direct_spend_usd": spent.direct_usd,
            "direct_requests": spent.direct_requests,
            "platform_spend_usd": spent.platform_usd,
            "models": dict(sorted(spent.models.items())),
        }
    }


def user_body(user: TeamUser) -> dict[str, Any]:
    """TeamUserOut."""
    allowances = allowances_of(user)
    return {
        "user_id": user.user_id,
        "status": user.status,
        "first_seen_at": user.first_seen_at,
        "last_seen_at": user.last_seen_at,
        "limits": limits_body(allowances),
        "erasure_requested_at": user.erasure_requested_at,
        "erased_at": user.erased_at,
    }


def limits_body(allowances: Mapping[str, Allowance]) -> dict[str, Any]:
    """UserLimitsOut."""
    in_credits, in_usd = allowances.get(UserLimit.Kind.CREDITS), allowances.get(UserLimit.Kind.DIRECT_COST)
    return {
        "credits_per_month": int(in_credits.limit) if in_credits else None,
        "direct_cost_usd_per_month": in_usd.limit if in_usd else None,
    }


def allowances_body(allowances: Mapping[str, Allowance]) -> dict[str, Any]:
    """AllowancesOut: of each limit that there is, what is used of it in the current month."""
    in_credits, in_usd = allowances.get(UserLimit.Kind.CREDITS), allowances.get(UserLimit.Kind.DIRECT_COST)
    return {
        "credits": {"limit": int(in_credits.limit), "used": int(in_credits.taken)} if in_credits else None,
        "direct_cost_usd": (
            {"limit": in_usd.limit, "used": in_usd.taken, "reserved": in_usd.reserved} if in_usd else None
        ),
    }


def job_types_body(job_types: Mapping[str, Totals]) -> dict[str, Any]:
    """JobTypeUsageOut by job type, in alphabetical order."""
    return {
        name: {"count": totals.total_jobs, "cost_usd": totals.total_cost_usd}
        for name, totals in sorted(job_types.items())
    }
