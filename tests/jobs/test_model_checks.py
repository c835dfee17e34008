"""Test calls to models, and how models do."""

import os
import uuid
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.utils import timezone

from jobs.callpath.bulletins import RESTING
from jobs.callpath.cooldown import identity
from jobs.callpath.resting import resting_until
from jobs.models import Attempt, Call, Job, ModelCheck
from jobs.services.jobs import open_job
from modelgroups.gateway.types import Target
from modelgroups.models import GroupModel, ModelGroup
from modelgroups.services.credentials import create_credential
from modelgroups.services.groups import ModelSpec
from tenancy.models import AuditEntry, Organization
from tenancy.queries.principals import TeamRef
from tests.support.admin import AdminClient
from tests.support.api import Tenant, make_group

NEW, PAGE, HEALTH = "jobs_modelcheck_new", "jobs_modelcheck_change", "jobs_attempt_health"
SECRET = "sk-provider-0123456789abcdef"


@pytest.fixture
def superuser(db: None) -> AdminClient:
    return AdminClient()


@pytest.fixture
def model(tenant: Tenant) -> GroupModel:
    return GroupModel.objects.order_by("position")[0]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is handed to the workers; nobody waits for what none of them does."""
    sent: list[Any] = []
    monkeypatch.setattr("celery.current_app.send_task", lambda *args, **options: sent.append((args, options)))
    monkeypatch.setattr("jobs.admin.checks.WAIT_S", 0.0)
    return sent


@pytest.mark.django_db(transaction=True)
def test_it_is_asked_for_by_a_post_and_put_on_record(
    superuser: AdminClient, model: GroupModel, sent: list[Any]
) -> None:
    assert superuser.get(NEW, model.pk).status_code == 200
    assert not ModelCheck.objects.exists()

    answer = superuser.post(NEW, model.pk, token=uuid.uuid4())

    check = ModelCheck.objects.get()
    assert answer.headers["Location"] == f"/admin/jobs/modelcheck/{check.pk}/change/"
    assert sent == [(("jobs.check_model",), {"kwargs": {"check_id": str(check.pk)}})]
    assert (check.state, check.model, check.actor) == ("queued", model, "console:somebody")
    entry = AuditEntry.objects.get(action="model.tested")
    assert (entry.actor, entry.subject) == ("console:somebody", model.group.group_name)
    assert "still running" in superuser.html(PAGE, check.pk)
    assert not Job.objects.exists()

    ModelCheck.objects.update(state="failed", cause="authentication", error_class="<b>X</b>", ended_at=timezone.now())
    html = superuser.html(PAGE, check.pk)
    assert "The provider refused our credentials" in html
    assert "<b>X" not in html


def test_a_test_that_no_worker_took_is_said_to_be_lost(
    superuser: AdminClient, model: GroupModel, sent: list[Any]
) -> None:
    check = ModelCheck.objects.create(model=model, group_name="G", model_name="m", actor="test")
    ModelCheck.objects.update(created_at=timezone.now() - timedelta(hours=1))
    assert "lost" in superuser.html(PAGE, check.pk)


@pytest.mark.django_db(transaction=True)
def test_without_redis_a_test_has_failed(
    superuser: AdminClient, model: GroupModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kombu.exceptions import OperationalError

    def refused(*args: Any, **options: Any) -> None:
        raise OperationalError

    monkeypatch.setattr("celery.current_app.send_task", refused)
    answer = superuser.post(NEW, model.pk, token=uuid.uuid4())
    assert answer.status_code == 302
    check = ModelCheck.objects.get()
    assert (check.state, check.cause) == ("failed", "broker_unavailable")
    assert "broker_unavailable" in superuser.html(PAGE, check.pk)


@pytest.mark.django_db(transaction=True)
def test_a_form_that_is_sent_twice_is_one_paid_call(superuser: AdminClient, model: GroupModel, sent: list[Any]) -> None:
    token = uuid.uuid4()
    for _ in range(2):
        assert superuser.post(NEW, model.pk, token=token).status_code == 302
    assert (ModelCheck.objects.count(), len(sent)) == (1, 1)


def test_who_may_not_test_does_not(model: GroupModel, sent: list[Any]) -> None:
    viewer = AdminClient(["modelgroups.view_modelgroup", "modelgroups.change_modelgroup", "jobs.view_modelcheck"])
    assert viewer.get(NEW, model.pk).status_code == 403
    assert viewer.post(NEW, model.pk, token=uuid.uuid4()).status_code == 403
    assert not ModelCheck.objects.exists()
    tester = AdminClient(["modelgroups.test_modelgroup"], name="tester")
    check = tester.post(NEW, model.pk, token=uuid.uuid4()).headers["Location"]
    assert "still running" in tester.html(PAGE, check.split("/")[-3])


def test_it_can_be_made_with_an_organizations_own_credential(
    superuser: AdminClient, tenant: Tenant, sent: list[Any]
) -> None:
    organization = Organization.objects.get()
    given = {"provider": "openai", "api_base": "", "secret": SECRET, "actor": "test"}
    create_credential(name="main", organization_pk=organization.pk, **given)
    make_group("Named", [ModelSpec("gpt-4o", 0, {"credential": "main"})])
    model = GroupModel.objects.get(group__group_name="Named")
    assert tenant.organization_id in superuser.html(NEW, model.pk)

    assert superuser.post(NEW, model.pk, token=uuid.uuid4(), organization="7777").status_code == 200
    assert superuser.post(NEW, model.pk, token=uuid.uuid4(), organization=organization.pk).status_code == 302

    assert ModelCheck.objects.get().organization == organization


def test_a_model_that_is_gone_is_not_tested(superuser: AdminClient, sent: list[Any]) -> None:
    assert superuser.post(NEW, 4711, token=uuid.uuid4()).status_code == 404
    assert superuser.get(HEALTH, group="x").status_code == 404


def add_attempts(tenant: Tenant, model_name: str) -> None:
    team = TeamRef(tenant.team_pk, tenant.team_id, tenant.organization_id, False, None)
    opened = open_job(team=team, virtual_key_id=None, job_type="x", user_id="", metadata={})
    now = timezone.now()
    call = Call.objects.create(
        job_id=opened.job_id, team_id=tenant.team_pk, model_group="G", state="succeeded", ended_at=now, deadline_at=now
    )
    for sequence, cause in enumerate(("timeout", "rate_limited", ""), 1):
        Attempt.objects.create(
            call=call,
            sequence=sequence,
            model_name=model_name,
            outcome="failed" if cause else "succeeded",
            cause=cause,
            error_class="<i>Error</i>",
            latency_ms=40,
            started_at=now,
        )


def test_the_health_page_shows_errors_and_who_was_tested(
    superuser: AdminClient, tenant: Tenant, model: GroupModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.admin.health.resting_until", lambda models: {model.pk: 4_000_000_000.0})
    add_attempts(tenant, model.model_name)
    ModelCheck.objects.create(
        model=model, group_name="G", model_name="m", actor="a", state="succeeded", ended_at=timezone.now()
    )
    group = ModelGroup.objects.get()
    html = superuser.html(HEALTH, group=group.pk)
    for shown in (
        "2 (67 %)",
        "40 ms",
        "07:06:40 UTC",
        "succeeded",
        "Rate limit exceeded",
        "not answer in time",
    ):
        assert shown in html, shown
    assert "<i>Error" not in html
    before = superuser.queries(HEALTH)
    make_group("Another", [ModelSpec("gpt-4.1"), ModelSpec("gpt-4")])
    assert superuser.queries(HEALTH) == before <= 10
    assert AdminClient(["modelgroups.view_modelgroup"], name="other").get(HEALTH).status_code == 403


def test_the_health_page_does_without_redis(superuser: AdminClient, model: GroupModel, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1"
    assert "Redis cannot be asked" in superuser.html(HEALTH)


def test_who_rests_is_read_as_the_workers_wrote_it(model: GroupModel, settings: Any) -> None:
    make_group("Keyed", [ModelSpec("gpt-4o", 0, {"api_key": SECRET})])
    keyed = GroupModel.objects.get(group__group_name="Keyed")
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        try:
            client.hset(RESTING, identity(Target("gpt-4o", keyed.config, SECRET)), "2000.5")
            client.hset(RESTING, "another", "nonsense")
            assert resting_until([keyed, model], now=1999.0) == {keyed.pk: 2000.5}
            assert resting_until([keyed, model], now=2001.0) == {}
        finally:
            client.delete(RESTING)
