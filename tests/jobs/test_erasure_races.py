"""Erasing a user while others still write of him: calls that end late, workers that come back, old transactions."""

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from config.foundation import async_database
from jobs.callpath.admission import CallRequest, _fetch, _statement
from jobs.callpath.fallback import Outcome
from jobs.callpath.messages import Reply
from jobs.callpath.runner import outcome_row
from jobs.callpath.statements import record_one_outcome
from jobs.models import Call, CallContent, Job
from jobs.services import erasure
from jobs.services.erasure import erase_users
from jobs.services.jobs import end_job
from modelgroups.services.groups import ModelSpec
from tenancy.models import IdempotencyRecord, TeamUser
from tenancy.queries.principals import TeamRef
from tests.support.api import Tenant, make_group, make_tenant
from tests.support.coroutines import run
from tests.support.erasure import MARK, begun, called, ended, finished, opened, status, traces
from tests.support.stack import eventually

pytestmark = pytest.mark.django_db(transaction=True)
PRICED = {"input_cost_per_token": 0, "output_cost_per_token": 0.01, "mock_response": "Hello"}


@pytest.fixture
def team(transactional_db: None) -> Tenant:
    return make_tenant(groups=[make_group("G", [ModelSpec("m", 0, PRICED)])], credits_allocated=100)


@pytest.mark.parametrize(("state", "cause"), [("interrupted", "interrupted"), ("failed", "deadline")])
def test_a_call_whose_worker_may_come_back_is_waited_for(team: Tenant, state: str, cause: str) -> None:
    opened(team)
    call = called(None, TeamUser.objects.get())
    Call.objects.update(deadline_at=timezone.now(), state=state, cause=cause)
    ended(Job.objects.get())
    begun(team)
    assert erase_users() == 0

    Call.objects.filter(pk=call.pk).update(deadline_at=timezone.now() - timedelta(minutes=2))
    assert finished() == 1


def record_late(call: Call) -> None:
    """As a worker does that was taken for dead, with what its team wants kept."""
    row = outcome_row(Outcome(attempts=[], cause="timeout"), Reply(call.id, state="succeeded"))
    parameters = {"call_id": call.id, "outcomes": json.dumps([row]), "content": b"x", "answer": None, "keep_s": 60}
    run(lambda: async_database.fetch_one(record_one_outcome(content=True, key=False), parameters))


@pytest.mark.parametrize("is_in_job", [True, False])
def test_a_worker_that_comes_back_late_stores_nothing_of_him(team: Tenant, is_in_job: bool) -> None:
    """However late: it may have been stopped for hours. What it does for others is kept."""
    job, other = opened(team), opened(team, "alice")
    bob = TeamUser.objects.get(user_id=MARK)
    his = called(job, None) if is_in_job else called(None, bob)
    hers = called(other, TeamUser.objects.get(user_id="alice"))
    long_ago = timezone.now() - timedelta(minutes=2)
    Call.objects.update(state="failed", cause="deadline", deadline_at=long_ago, ended_at=long_ago)
    ended(job)
    begun(team)
    assert finished() == 1

    record_late(his)
    record_late(hers)

    content = CallContent.objects.get()
    assert (content.call_id, bytes(content.request or b"")) == (hers.id, b"x")


def test_what_others_do_in_his_jobs_is_waited_for(team: Tenant) -> None:
    """Though nothing is kept with the job itself, and it has got its pseudonym while it was open."""
    job, _ = opened(team), opened(team, "alice")
    call = called(job, TeamUser.objects.get(user_id="alice"), state="running")
    CallContent.objects.all().delete()
    IdempotencyRecord.objects.all().delete()
    Call.objects.update(purpose="")
    Job.objects.filter(pk=job.pk).update(metadata={})
    begun(team)
    assert erase_users() == 0
    end_job(job_id=job.id, team_pk=None, status="failed", metadata={}, error_message="", actor="test")
    assert erase_users() == 0

    Call.objects.filter(pk=call.pk).update(state="succeeded", ended_at=timezone.now(), purpose=MARK)
    CallContent.objects.create(call=call, request=MARK.encode())
    assert finished() == 1
    assert CallContent.objects.count() == 0
    assert traces() == []


def test_a_call_that_ends_behind_the_batches_is_not_forgotten(team: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(opened(team))
    call = called(None, TeamUser.objects.get(), state="running")
    begun(team)
    erase_batch = erasure._erase_batch

    def and_one_ends(user: TeamUser, run: dict[str, Any]) -> Any:
        done = erase_batch(user, run)
        if done is None and run["step"] == 1:
            Call.objects.filter(pk=call.pk).update(state="succeeded", ended_at=timezone.now())
        return done

    with monkeypatch.context() as late:
        late.setattr(erasure, "_erase_batch", and_one_ends)
        assert erase_users() == 0
    assert status() == "erasing"
    assert finished() == 1
    assert traces() == []
    assert (CallContent.objects.count(), IdempotencyRecord.objects.count()) == (0, 0)


@pytest.mark.parametrize(
    "begin", [("BEGIN", "SELECT pg_current_xact_id()"), ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1")]
)
def test_whoever_still_knew_the_name_is_waited_for(team: Tenant, begin: tuple[str, str]) -> None:
    """A job that is being opened in the moment in which the name goes, and has written something or not yet."""
    ended(opened(team))
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            for statement in begin:
                cursor.execute(statement)
            begun(team)
            assert erase_users() == 0
            assert status() == "erasing"
            cursor.execute("COMMIT")
    finally:
        other.close()
    assert finished() == 1


def test_a_call_that_waits_to_be_admitted_is_waited_for(team: Tenant) -> None:
    """It saw the name before, and has written nothing: it waits for the budget. Then it does not commit for long."""
    ended(opened(team))
    is_admitted, may_commit = threading.Event(), threading.Event()
    thread = threading.Thread(target=admit_slowly, args=(team, is_admitted, may_commit))
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT FROM billing_teambudget WHERE team_id = %s FOR UPDATE", [team.team_pk])
            thread.start()
            eventually(is_somebody_waiting, "the admission waits for the budget", within_s=30)
            begun(team)
            assert erase_users() == 0
            cursor.execute("COMMIT")
        assert is_admitted.wait(30)
        assert erase_users() == 0
        assert status() == "erasing"
    finally:
        may_commit.set()
        thread.join()
        other.close()
    call = Call.objects.get()
    assert (call.team_user, call.purpose) == (TeamUser.objects.get(), MARK)
    Call.objects.update(state="failed", cause="timeout", ended_at=timezone.now())
    assert finished() == 1
    assert traces() == []


def admit_slowly(team: Tenant, is_admitted: threading.Event, may_commit: threading.Event) -> None:
    """A direct call of his, in a transaction that lasts."""
    reference = TeamRef(team.team_pk, team.team_id, team.organization_id, is_suspended=False)
    messages = [{"role": "user", "content": "Hello"}]
    request = CallRequest("G", messages, {"max_tokens": 1}, MARK, endpoint="chat/completions", user_id=MARK)
    try:
        with transaction.atomic():
            _fetch(*_statement(team=reference, job_id=None, request=request))
            is_admitted.set()
            may_commit.wait(30)
    finally:
        connection.close()


def is_somebody_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' LIMIT 1"
        )
        return cursor.rowcount == 1
