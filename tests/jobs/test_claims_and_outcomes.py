"""The worker's two statements about a call, where several calls, or several tries, come together."""

import asyncio
import json
import os
import uuid
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection

from config.foundation import async_database
from jobs.callpath.runner import _record_outcome
from jobs.callpath.statements import CANCEL_QUEUED_CALL, CLAIM_CALLS, RECORD_OUTCOMES
from jobs.models import Attempt, Call
from tests.jobs.test_jobs import add_call, complete, open_job
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


def test_a_swept_call_stays_in_its_jobs_completion_when_its_outcome_comes_late(tenant: Tenant) -> None:
    job = open_job(tenant)
    swept = add_call(job, "running")
    ended = {"state": "interrupted", "cause": "interrupted", "error": "x", "ended_at": swept.created_at}
    Call.objects.filter(pk=swept.pk).update(**ended)
    before = complete(tenant, job).json()
    assert (before["costs"]["failed_calls"], before["costs"]["credit_applied"]) == (1, False)

    record(outcome(swept))

    after = complete(tenant, job).json()
    assert (after["costs"]["failed_calls"], after["costs"]["running_calls"]) == (1, 0)
    assert after["costs"]["credit_applied"] is False


def test_a_stream_cancelled_after_its_jobs_end_is_late(tenant: Tenant) -> None:
    job = open_job(tenant)
    call = add_call(job, "queued")
    before = complete(tenant, job, "failed").json()

    assert len(rows(CANCEL_QUEUED_CALL, {"call_id": call.pk, "cause": "client_gone", "error": "x"})) == 1

    assert Call.objects.get(pk=call.pk).is_late is True
    assert complete(tenant, job, "failed").json() == before


def test_one_outcome_that_cannot_be_recorded_keeps_no_other_from_it(tenant: Tenant) -> None:
    job = open_job(tenant)
    good, bad = add_call(job, "running"), add_call(job, "running")

    async def both() -> list[Any]:
        records = [_record_outcome(outcome(good)), _record_outcome(outcome(bad, finish_reason="\ud83d"))]
        return await asyncio.gather(*records, return_exceptions=True)

    recorded, refused = run(both)
    assert recorded["state"] == "succeeded"
    assert isinstance(refused, psycopg.DataError)
    assert Call.objects.get(pk=good.pk).state == "succeeded"


def test_a_job_that_somebody_keeps_locked_delays_no_other_outcome(tenant: Tenant) -> None:
    calls = [add_call(open_job(tenant), "running") for _ in range(2)]
    with psycopg.connect(os.environ["DATABASE_URL"], dbname=connection.settings_dict["NAME"]) as locker:
        locker.execute("SELECT 1 FROM jobs_job WHERE id = %s FOR UPDATE", [calls[0].job_id])

        async def both() -> list[Any]:
            return await asyncio.gather(*(_record_outcome(outcome(call)) for call in calls), return_exceptions=True)

        locked, recorded = run(both)
    assert isinstance(locked, async_database.RowsLocked)
    assert recorded["state"] == "succeeded"
