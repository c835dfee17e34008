"""The worker's two statements about a call, where several calls, or several tries, come together."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from config.foundation import async_database
from jobs.callpath.statements import CLAIM_CALLS, RECORD_OUTCOMES
from jobs.models import Attempt, Call
from tests.jobs.test_jobs import add_call, open_job
from tests.support.api import Tenant
from tests.support.coroutines import run

pytestmark = pytest.mark.django_db(transaction=True)

ME, ANOTHER = uuid.uuid4(), uuid.uuid4()


def rows(statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    return run(lambda: async_database.fetch_all(statement, parameters))


def claim(*calls: Call, by: uuid.UUID = ME) -> set[uuid.UUID]:
    found = rows(CLAIM_CALLS, {"call_ids": [call.pk for call in calls], "process_id": by})
    return {row["call_id"] for row in found}


def outcome(call: Call, **fields: Any) -> dict[str, Any]:
    attempt = {
        "sequence": 1, "model_name": "m", "outcome": "succeeded", "cause": "", "error_class": "", "http_status": 200,
        "latency_ms": 5, "prompt_tokens": 2, "completion_tokens": 3, "cost_usd": "0.000001500000",
        "usage_is_estimated": False, "started_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return {
        "call_id": str(call.pk), "state": "succeeded", "cause": "", "error": "", "latency_ms": 7,
        "finish_reason": "stop", "prompt_tokens": 2, "completion_tokens": 3, "cost_usd": "0.000001500000",
        "attempts": [attempt], **fields,
    }  # fmt: skip


def record(*outcomes: dict[str, Any]) -> None:
    rows(RECORD_OUTCOMES, {"outcomes": json.dumps(outcomes)})


def test_calls_are_claimed_together_and_only_those_to_be_had(tenant: Tenant) -> None:
    job = open_job(tenant)
    queued, another = add_call(job, "queued"), add_call(job, "queued")
    taken = add_call(job, "running", process_id=ANOTHER)
    ended = add_call(job, "succeeded")

    assert claim(queued, taken, ended, another) == {queued.pk, another.pk}
    assert claim(queued, by=ANOTHER) == set()


def test_who_did_not_hear_that_he_has_a_call_may_ask_again(tenant: Tenant) -> None:
    call = add_call(open_job(tenant), "queued")

    assert claim(call) == {call.pk}
    assert claim(call) == {call.pk}


def test_a_call_is_claimed_once_by_many_at_once(tenant: Tenant) -> None:
    job = open_job(tenant)
    calls = [add_call(job, "queued") for _ in range(20)]
    workers = [uuid.uuid4() for _ in range(8)]

    def asking(worker: uuid.UUID) -> Callable[[], Awaitable[list[dict[str, Any]]]]:
        # Each in an order of its own, so that locks taken in that order would wait in a circle.
        ids = [call.pk for call in calls][:: 1 if worker.int % 2 else -1]
        return lambda: async_database.fetch_all(CLAIM_CALLS, {"call_ids": ids, "process_id": worker})

    async def all_at_once() -> list[list[dict[str, Any]]]:
        return await asyncio.gather(*(asking(worker)() for worker in workers))

    claimed = [row["call_id"] for found in run(all_at_once) for row in found]
    assert sorted(claimed) == sorted(call.pk for call in calls)


def test_outcomes_are_recorded_together_each_with_its_own(tenant: Tenant) -> None:
    job = open_job(tenant)
    first, second, swept = (add_call(job, "running") for _ in range(3))
    Call.objects.filter(pk=swept.pk).update(
        state="interrupted", cause="interrupted", error="x", ended_at=first.created_at
    )
    failed = {"state": "failed", "cause": "timeout", "error": "too late", "finish_reason": "", "attempts": []}
    record(outcome(first), outcome(second, **failed), outcome(swept))

    states = {call.pk: (call.state, call.cause) for call in Call.objects.all()}
    assert states[first.pk] == ("succeeded", "")
    assert states[second.pk] == ("failed", "timeout")
    assert states[swept.pk] == ("interrupted", "interrupted")
    assert Call.objects.get(pk=swept.pk).cost_usd == Decimal("0.0000015")
    assert sorted(Attempt.objects.values_list("call_id", flat=True)) == sorted([first.pk, swept.pk])


def test_an_outcome_counts_once_however_often_it_is_sent(tenant: Tenant) -> None:
    call = add_call(open_job(tenant), "running")
    record(outcome(call))
    with pytest.raises(psycopg.errors.UniqueViolation):
        record(outcome(call))

    assert Call.objects.get(pk=call.pk).cost_usd == Decimal("0.0000015")
    assert Attempt.objects.count() == 1
