"""A call's answers, as its callers get them: neither the model nor its cost is in them."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from config.foundation.errors import DomainError
from jobs.callpath.admission import NewJob
from jobs.callpath.dispatch import Dispatched, Order
from jobs.callpath.messages import Delta, Reply
from jobs.errors import call_failed


def accepted(dispatched: Dispatched) -> dict[str, Any]:
    """AcceptedCallOut."""
    replayed_job = (dispatched.replay.job or {}).get("job_id") if dispatched.replay else None
    return {"call_id": dispatched.call_id, "job_id": replayed_job or dispatched.job_id, "state": "queued"}


def answered(reply: Reply, order: Order) -> dict[str, Any]:
    """CallAnswerOut, or for a new job JobCallAnswerOut."""
    body = {"call_id": reply.call_id, "response": response(reply), "metadata": _metadata(reply, order)}
    return {**_job(reply), **body} if isinstance(order.job, NewJob) else body


def response(reply: Reply) -> dict[str, Any]:
    """AnswerOut: the same for each of the ways in which an answer is had."""
    body: dict[str, Any] = {"content": reply.content, "finish_reason": reply.finish_reason}
    if reply.tool_calls:
        body["tool_calls"] = reply.tool_calls
    return body


def delta(piece: Delta) -> dict[str, Any]:
    """An event's data: a piece of the answer, in OpenAI's terms."""
    pieces = {"content": piece.content, "tool_calls": piece.tool_calls}
    return {"call_id": piece.call_id, "delta": {name: value for name, value in pieces.items() if value is not None}}


def replayed(reply: Reply) -> Iterator[Delta]:
    """A stored answer as the one piece that is left of its stream."""
    if reply.content is not None or reply.tool_calls:
        tool_calls = [{"index": index, **call} for index, call in enumerate(reply.tool_calls or [])]
        yield Delta(reply.call_id, 0, reply.content, tool_calls or None)


def ended(reply: Reply, order: Order) -> dict[str, Any]:
    """The last event's data: how the call ended and what it took."""
    body = {
        **(_job(reply) if isinstance(order.job, NewJob) else {}),
        "call_id": reply.call_id,
        # Where it broke off there is none of the model's, and the cause says why.
        "finish_reason": reply.finish_reason or reply.cause or None,
        "usage": {
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        },
        "metadata": _metadata(reply, order),
    }
    if reply.state != "succeeded":
        body["error"] = _error(call_failed(reply.cause))
    return body


def broken_off(dispatched: Dispatched, error: DomainError) -> dict[str, Any]:
    """The last event's data where nobody knows (yet) what the call took; its record will tell."""
    return {"call_id": dispatched.call_id, "finish_reason": None, "usage": None, "error": _error(error)}


def _error(error: DomainError) -> dict[str, str]:
    return {"detail": str(error), "code": error.code}


def _metadata(reply: Reply, order: Order) -> dict[str, Any]:
    return {
        "tokens_used": reply.prompt_tokens + reply.completion_tokens,
        "latency_ms": reply.latency_ms,
        "model_group": order.request.model_group,
    }


def _job(reply: Reply) -> dict[str, Any]:
    """What became of the job. It may be in progress still, where the sweeper has to end it: then nobody knows."""
    job = dict(reply.job or {})
    head = {"job_id": job.pop("job_id", None), "status": job.pop("status", None)}
    return {**head, "costs": {**job, "total_cost_usd": Decimal(job["total_cost_usd"])} if job else None}
