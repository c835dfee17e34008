"""Erasing a user: nothing says any more who he was, and the books say what they said."""

import io
import json
import time
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.utils import timezone

from billing.models import LedgerEntry
from billing.queries.books import breaches
from jobs.models import Call, CallContent, Job, LateChange
from jobs.queries.books import JOB_RULES
from jobs.services import erasure
from jobs.services.erasure import erase_user, erase_users, request_erasure
from tenancy.models import AuditEntry, IdempotencyRecord, Team, TeamUser, WebhookDelivery, WebhookEvent
from tenancy.services.webhooks import delivery, sending
from tenancy.services.webhooks.endpoints import create_endpoint
from tenancy.services.webhooks.outbox import dispatch_events
from tests.support.api import Tenant, make_tenant
from tests.support.erasure import MARK, begun, called, ended, finished, opened, status, traces

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def team(transactional_db: None) -> Tenant:
    tenant = make_tenant(credits_allocated=100)
    create_endpoint(owner=Team.objects.get(pk=tenant.team_pk), url="https://8.8.8.8/", event_types=[])
    return tenant


def figures(team: Tenant) -> list[Any]:
    """All that the team and its customers are shown of the books."""
    paths = ("usage", "statement")
    shown = [team.api.get(f"/api/teams/{team.team_id}/{name}").json() for name in paths]
    entries = list(LedgerEntry.objects.order_by("sequence").values())
    return [*shown, entries, list(Call.objects.order_by("id").values("id", "cost_usd", "prompt_tokens", "state"))]


def test_nothing_is_left_of_him_and_the_books_are_as_they_were(team: Tenant) -> None:
    job, other = opened(team), opened(team, "alice")
    bob, alice = TeamUser.objects.get(user_id=MARK), TeamUser.objects.get(user_id="alice")
    called(job, bob)
    called(other, bob)
    called(None, bob)
    called(job, alice)
    ended(job)
    ended(other)
    body = {"status": "completed"}
    team.api.post(f"/api/jobs/{job.id}/complete", body, headers={"Idempotency-Key": "k"})
    dispatch_events()
    assert {"jobs_job", "jobs_call", "tenancy_webhookevent", "tenancy_teamuser"} <= set(traces())
    before = figures(team)

    answer = team.api.delete(f"/api/teams/{team.team_id}/users/{MARK}")
    assert (answer.status_code, answer.json()["status"]) == (202, "erasing")
    assert finished() == 1

    assert traces() == []
    assert figures(team) == before
    assert breaches(JOB_RULES) == []
    job.refresh_from_db()
    bob.refresh_from_db()
    assert (job.metadata, job.error_message, job.user_id) == ({}, "", bob.user_id)
    assert (bob.status, bob.user_id) == ("erased", answer.json()["user_id"])
    assert bob.erased_at is not None
    assert (CallContent.objects.count(), IdempotencyRecord.objects.count()) == (0, 0)
    # What is another's is still there, but for what she did in his job.
    assert Job.objects.get(pk=other.pk).metadata == {"name": "alice"}
    assert [event.data["user_id"] for event in WebhookEvent.objects.all()] == ["alice"]
    assert WebhookDelivery.objects.count() == 1


def test_his_pseudonym_says_nothing_and_his_name_is_free(team: Tenant) -> None:
    ended(opened(team))
    first = begun(team)
    assert finished() == 1
    again = opened(team)
    ended(again)
    second = begun(team)

    assert again.team_user_id != first.pk
    assert first.user_id.startswith("~erased-")
    assert second.user_id != first.user_id
    api, users = team.api, f"/api/teams/{team.team_id}/users"
    assert api.get(f"{users}/{MARK}").status_code == 404
    assert api.get(f"{users}/{first.user_id}").json()["status"] == "erased"
    assert api.get(f"{users}/{first.user_id}/usage").json()["summary"]["total_jobs"] == 1
    jobs = api.get(f"/api/teams/{team.team_id}/jobs").json()["jobs"]
    assert jobs[-1]["user_id"] == first.user_id


def test_erasing_again_changes_nothing(team: Tenant) -> None:
    ended(opened(team))
    user = begun(team)
    assert begun(team, user.user_id).user_id == user.user_id
    assert (finished(), erase_users()) == (1, 0)
    assert begun(team, user.user_id).status == "erased"
    assert AuditEntry.objects.filter(action__startswith="user.").count() == 2


def test_the_audit_log_has_his_pseudonym(team: Tenant) -> None:
    opened(team)
    user = request_erasure(user_pk=TeamUser.objects.get().pk, actor="team:1", reason="his request")
    entry = AuditEntry.objects.get(action="user.erasure_began")
    assert (entry.subject, entry.actor, entry.reason) == (user.user_id, "team:1", "his request")
    assert entry.team_id == team.team_pk


def test_nothing_can_be_changed_of_him(team: Tenant) -> None:
    opened(team)
    user = begun(team)
    answer = team.api.patch(f"/api/teams/{team.team_id}/users/{user.user_id}", {"status": "blocked"})
    assert (answer.status_code, answer.json()["code"]) == (409, "user_erased")
    assert status() == "erasing"


def test_open_jobs_and_calls_are_erased_once_they_have_ended(team: Tenant) -> None:
    job = opened(team)
    user = TeamUser.objects.get()
    call = called(None, user, state="running")
    begun(team)
    assert erase_users() == 0
    pseudonym = TeamUser.objects.get().user_id
    # The name goes at once: what is told of the job has the pseudonym. The app may still need the rest.
    assert (Job.objects.get().user_id, Job.objects.get().metadata) == (pseudonym, {"name": MARK})

    ended(job)
    assert WebhookEvent.objects.get().data["user_id"] == pseudonym
    assert erase_users() == 0
    assert (Job.objects.get().metadata, Call.objects.get().purpose) == ({}, MARK)
    assert WebhookEvent.objects.count() == 0

    Call.objects.filter(pk=call.pk).update(state="succeeded", ended_at=timezone.now())
    assert finished() == 1
    assert traces() == []


def test_who_waits_for_long_is_looked_at_seldom(team: Tenant) -> None:
    job = opened(team)
    begun(team)
    TeamUser.objects.update(erasure_requested_at=timezone.now() - timedelta(minutes=31))
    assert erase_users() == 0
    pause = TeamUser.objects.get().next_erasure_at - timezone.now()  # type: ignore[operator]
    assert timedelta(minutes=2.9) < pause <= timedelta(minutes=3)

    ended(job)
    assert erase_users() == 0
    assert Job.objects.get().metadata == {"name": MARK}

    # As one who was asked for just now: others' transactions may keep the first look from being the last.
    TeamUser.objects.update(next_erasure_at=None, erasure_requested_at=timezone.now())
    assert finished() == 1
    assert traces() == []


def test_a_big_user_is_erased_in_batches_and_turns(team: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(7):
        ended(opened(team))
    begun(team)
    monkeypatch.setattr(erasure, "BATCH", 2)

    assert erase_users(turn_s=-1) == 0
    assert Job.objects.filter(user_id=MARK).count() == 5
    # What tells of the erased ones has gone with them.
    assert WebhookEvent.objects.count() == 5
    # The next turn goes on there: what was done is not looked at again.
    Job.objects.filter(metadata={}).update(error_message="not again")
    assert erase_users(turn_s=-1) == 0
    assert Job.objects.filter(user_id=MARK).count() == 3
    assert Job.objects.filter(error_message="not again").count() == 2
    Job.objects.filter(error_message="not again").update(error_message="")
    assert status() == "erasing"
    assert finished() == 1
    assert traces() == []


def test_a_run_that_broke_off_is_gone_on_with(team: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        ended(opened(team))
    begun(team)
    monkeypatch.setattr(erasure, "BATCH", 2)

    def die(name: str) -> None:
        raise SystemError(name)

    with monkeypatch.context() as broken:
        broken.setattr(erasure, "failpoint", die)
        with pytest.raises(SystemError, match="half_way"):
            erase_users()
    assert Job.objects.filter(user_id=MARK).count() == 3
    assert finished() == 1
    assert traces() == []


def test_one_that_cannot_be_erased_keeps_nobody_waiting(team: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of the two is first."""
    for name in ("alice", MARK):
        ended(opened(team, name))
        begun(team, name)
    alice, bob = TeamUser.objects.order_by("id")
    erase = erasure._erase

    def collide(user: TeamUser, is_over: Any) -> bool:
        if user.pk == bob.pk:
            with connection.cursor() as cursor:
                cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'deadlock_detected'; END $$")
        return erase(user, is_over)

    with monkeypatch.context() as broken:
        broken.setattr(erasure, "_erase", collide)
        deadline = time.monotonic() + 60
        while TeamUser.objects.get(pk=alice.pk).status == "erasing" and time.monotonic() < deadline:
            erase_users()
    assert [user.status for user in TeamUser.objects.order_by("id")] == ["erased", "erasing"]
    assert finished() == 1


def test_of_two_at_one_time_one_erases(team: Tenant) -> None:
    ended(opened(team))
    user = begun(team)
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(hashtext('erase_user'), %s)", [user.pk])
            assert erase_user(user_pk=user.pk) is False
            assert status() == "erasing"
            cursor.execute("SELECT pg_advisory_unlock(hashtext('erase_user'), %s)", [user.pk])
    finally:
        other.close()
    assert finished() == 1


def test_days_that_are_over_stay_summed_up(team: Tenant) -> None:
    job = opened(team)
    called(job, TeamUser.objects.get())
    ended(job)
    yesterday = timezone.now() - timedelta(days=1)
    Job.objects.update(created_at=yesterday)
    Call.objects.update(created_at=yesterday)
    LateChange.objects.all().delete()
    begun(team)

    assert finished() == 1

    assert traces() == []
    assert LateChange.objects.count() == 0


def test_a_delivery_that_is_under_way_may_vanish(team: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(opened(team))
    dispatch_events()
    sent: list[dict[str, Any]] = []

    def post(self: object, body: bytes, headers: dict[str, str]) -> sending.Outcome:
        sent.append(json.loads(body))
        begun(team)
        assert finished() == 1
        return sending.Outcome(200, "", 1)

    monkeypatch.setattr(sending.Connection, "post", post)
    (endpoint_id,) = delivery.endpoints_with_work()
    assert delivery.deliver(endpoint_id=endpoint_id) == 1
    assert sent[0]["data"]["user_id"] == MARK
    assert WebhookDelivery.objects.count() == 0
    assert delivery.endpoints_with_work() == []


def test_a_team_has_no_say_over_anothers_users(team: Tenant) -> None:
    other = make_tenant("b", groups=[])
    mine, theirs = opened(team), opened(other)
    ended(mine)
    ended(theirs)
    begun(team)
    assert finished() == 1
    theirs.refresh_from_db()
    assert (theirs.user_id, theirs.metadata) == (MARK, {"name": MARK})


def test_the_command_says_what_he_is_called_now(team: Tenant) -> None:
    job = opened(team)
    out = io.StringIO()
    call_command("erase_user", team.team_id, MARK, reason="asked for", stdout=out)
    pseudonym, state = out.getvalue().split()
    assert (state, TeamUser.objects.get().user_id) == ("erasing", pseudonym)
    ended(job)
    call_command("erase_user", team.team_id, pseudonym, stdout=out)
    assert Job.objects.get().user_id == pseudonym
    finished()
    call_command("erase_user", team.team_id, pseudonym, stdout=(out := io.StringIO()))
    assert out.getvalue().split() == [pseudonym, "erased"]
    for arguments in ((team.team_id, MARK), ("nobody", MARK), (team.team_id, "a/b")):
        with pytest.raises(CommandError):
            call_command("erase_user", *arguments)
    assert uuid.UUID(pseudonym.removeprefix("~erased-"))
