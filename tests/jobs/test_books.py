"""Jobs and the ledger agree; where they do not, verify_ledger says so, to whoever asks and to the log."""

import logging
import uuid
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from kombu.exceptions import OperationalError

from billing.models import LedgerCheck
from billing.queries.books import Breach, breaches
from config.celery import app
from jobs import tasks
from jobs.models import Job
from jobs.queries.books import JOB_RULES
from jobs.services.books import verify_books
from jobs.services.jobs import end_job
from tenancy.models import Alert, AlertMail, Team
from tests.config.test_admin import make_call, make_job
from tests.support.admin import AdminClient
from tests.support.api import Tenant
from tests.support.ledger import behind_its_back, hold


@pytest.fixture
def jobs(tenant: Tenant) -> list[Job]:
    """Two charged, one failed, one open."""
    team = Team.objects.select_related("organization").get()
    made = [make_job(team, calls=0) for _ in range(2)]
    for status in ("failed", None):
        job = tenant.api.post("/api/jobs/create", {"team_id": tenant.team_id, "job_type": "x"}).json()["job_id"]
        if status:
            end_job(job_id=job, team_pk=team.pk, status="failed", metadata={}, error_message="", actor="test")
        made.append(Job.objects.get(pk=job))
    return [Job.objects.get(pk=job.pk) for job in made]


def broken() -> list[Breach]:
    return breaches(JOB_RULES)


def test_jobs_as_they_are_made_agree_with_the_ledger(jobs: list[Job]) -> None:
    assert [job.status for job in jobs] == ["completed", "completed", "failed", "pending"]
    assert broken() == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("UPDATE jobs_job SET status = 'failed', ended_at = now() WHERE id = %s", "an open job has an open hold"),
        ("UPDATE billing_credithold SET job_id = gen_random_uuid() WHERE job_id = %s", "an open job has an open hold"),
        ("DELETE FROM billing_credithold WHERE job_id = %s", "an open job has an open hold"),
    ],
)
def test_an_open_job_without_its_hold_is_found(jobs: list[Job], change: str, rule: str) -> None:
    with behind_its_back() as cursor:
        cursor.execute(change, [jobs[-1].pk])
        assert rule in str(broken())


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs_job SET status = 'failed' WHERE id = %s",
        "UPDATE billing_ledgerentry SET job_id = gen_random_uuid() WHERE job_id = %s",
        "UPDATE billing_ledgerentry SET kind = 'adjustment', hold_id = NULL WHERE job_id = %s",
    ],
)
def test_a_job_that_was_charged_wrongly_is_found(jobs: list[Job], change: str) -> None:
    with behind_its_back() as cursor:
        cursor.execute(change, [jobs[0].pk])
        assert "a job is charged once" in str(broken())


def test_a_failed_call_in_a_charged_job_is_found_unless_it_came_late(jobs: list[Job]) -> None:
    call = make_call(jobs[0], attempts=0)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_call SET cost_usd = 0, state = 'failed', cause = 'timeout', is_late = true")
        assert broken() == []
        cursor.execute("UPDATE jobs_call SET is_late = false WHERE id = %s", [call.pk])
    (breach,) = broken()
    assert breach.examples == [f"job {jobs[0].pk}"]


def test_a_cost_that_no_attempt_explains_is_found(jobs: list[Job]) -> None:
    call = make_call(jobs[0], attempts=1)
    assert broken() == []
    type(call).objects.filter(pk=call.pk).update(cost_usd="0.0016")
    (breach,) = broken()
    assert (breach.count, breach.examples) == (1, [f"call {call.pk}"])


def test_a_hold_without_a_job_is_found(tenant: Tenant) -> None:
    job_id = hold(tenant.team_pk, uuid.uuid4())
    assert job_id is not None
    assert "an open job has an open hold, and no other has" in str(broken())


def test_the_command_answers_by_its_exit(jobs: list[Job], capsys: pytest.CaptureFixture[str]) -> None:
    call_command("verify_ledger")
    assert "The books are sound: 3 entries checked" in capsys.readouterr().out
    hold(jobs[0].team_id)
    with pytest.raises(CommandError, match="1 rules are broken"):
        call_command("verify_ledger")
    assert "BROKEN 1 times: an open job has an open hold" in capsys.readouterr().err
    assert [check.is_sound for check in LedgerCheck.objects.order_by("id")] == [True, False]


def test_a_breach_is_an_error_in_the_log(jobs: list[Job], caplog: pytest.LogCaptureFixture) -> None:
    tasks.verify_ledger()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    hold(jobs[0].team_id)
    tasks.verify_ledger()
    (error,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "the books are broken: an open job has an open hold" in error.getMessage()


def test_it_is_done_every_night() -> None:
    schedule = {entry["task"]: entry["schedule"] for entry in app.conf.beat_schedule.values()}
    assert str(schedule["jobs.verify_ledger"]).startswith("<crontab: 41 3 * * *")


def test_the_admin_shows_what_is_broken_and_where(jobs: list[Job]) -> None:
    superuser = AdminClient()
    sound = verify_books(actor="test")
    hold(jobs[0].team_id)
    bad = verify_books(actor="test")
    assert 'title="False"' in superuser.html("billing_ledgercheck_changelist")
    assert "none" in superuser.html("billing_ledgercheck_change", sound.pk)
    page = superuser.html("billing_ledgercheck_change", bad.pk)
    assert "an open job has an open hold" in page
    assert "hold " in page


def test_the_button_has_the_books_checked_by_who_may_more_than_look(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr("celery.current_app.send_task", lambda *args, **options: sent.append((args, options)))
    page = "billing_ledgercheck_verify"
    assert AdminClient([], name="nobody").post(page).status_code == 403
    viewer = AdminClient(["billing.view_ledgercheck"], name="viewer")
    assert viewer.post(page).status_code == 403
    assert "Verify the ledger now" not in viewer.html("billing_ledgercheck_changelist")
    billing = AdminClient(["billing.view_ledgercheck", "billing.change_ledgercheck"], name="billing")
    assert "Verify the ledger now" in billing.html("billing_ledgercheck_changelist")
    assert billing.get(page).status_code == 405
    assert sent == []
    assert billing.post(page).status_code == 302
    assert sent == [(("jobs.verify_ledger",), {"kwargs": {"actor": "console:billing"}})]


def test_the_button_says_so_where_no_broker_takes_the_task(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OperationalError

    monkeypatch.setattr("celery.current_app.send_task", refused)
    client = AdminClient()
    assert client.post("billing_ledgercheck_verify").status_code == 302
    assert "Nothing was started" in client.html("billing_ledgercheck_changelist")


def test_broken_books_wake_the_operators_once_and_are_over_when_mended(jobs: list[Job], settings: Any) -> None:
    settings.ALERT_EMAILS = ["ops@example.com"]
    open_job = jobs[-1].pk
    rename = "UPDATE billing_credithold SET job_id = %s WHERE job_id = %s"
    with behind_its_back() as cursor:
        other = uuid.uuid4()
        cursor.execute(rename, [other, open_job])
        for _ in range(2):
            verify_books(actor="test")
        (alert,) = Alert.objects.filter(rule=Alert.Rule.BOOKS_BROKEN, subject__startswith="an open job has")
        assert alert.state == "open"
        assert AlertMail.objects.filter(alert=alert).count() == 1

        cursor.execute(rename, [open_job, other])
        verify_books(actor="test")
        alert.refresh_from_db()
        assert alert.state == "closed"
