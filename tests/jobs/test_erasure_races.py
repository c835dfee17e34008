"""Erasing a user while others still write of him: calls that end late, workers that come back, old transactions."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from config.foundation import async_database
from jobs.callpath.fallback import Outcome
from jobs.callpath.messages import Reply
from jobs.callpath.runner import outcome_row
from jobs.callpath.statements import record_one_outcome
from jobs.models import Call, CallContent, Job
from jobs.services import erasure
from jobs.services.erasure import erase_users
from jobs.services.jobs import end_job
from tenancy.models import IdempotencyRecord, TeamUser
from tests.support.api import Tenant, make_tenant
from tests.support.coroutines import run
from tests.support.erasure import MARK, begun, called, ended, finished, opened, status, traces

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def team(transactional_db: None) -> Tenant:
    return make_tenant(credits_allocated=100)


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

    assert [content.call_id for content in CallContent.objects.all()] == [hers.id]
    assert bytes(CallContent.objects.get().request) == b"x"


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
    erase_calls = erasure._erase_calls

    def and_one_ends(user: TeamUser) -> Iterator[int]:
        yield from erase_calls(user)
        Call.objects.filter(pk=call.pk).update(state="succeeded", ended_at=timezone.now())

    with monkeypatch.context() as late:
        late.setattr(erasure, "_erase_calls", and_one_ends)
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
