"""The admin over all models: what every page of it has to keep to."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import models
from django.utils import timezone

from billing.models import CreditAccount, CreditHold, LedgerCheck, LedgerEntry, ProxyDrift, ProxySpend, RefillUpload
from billing.services.refill_policies import PolicyTerms, run_refill_policies, set_refill_policy
from billing.services.refill_uploads import create_upload
from jobs.models import Attempt, Call, CallContent, CallProcess, Job, LateChange, ModelCheck
from jobs.services.jobs import end_job, open_job
from jobs.services.rollups import rebuild_rollups
from modelgroups.models import GroupAssignment, GroupModel, ModelGroup, ProviderCredential
from modelgroups.services.credentials import create_credential
from modelgroups.services.groups import ModelSpec
from tenancy.models import (
    Alert,
    AlertMail,
    AuditEntry,
    IdempotencyRecord,
    OperatorKey,
    Organization,
    Team,
    TeamUser,
    VirtualKey,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from tenancy.queries.principals import TeamRef
from tenancy.services import audit
from tenancy.services.alerts import Finding, open_alert
from tenancy.services.keys import create_operator_key, create_virtual_key
from tenancy.services.users import change_user
from tenancy.services.webhooks.endpoints import create_endpoint
from tenancy.services.webhooks.outbox import send_test
from tests.support.admin import AdminClient, page_of, row
from tests.support.api import make_group, make_tenant

OURS = ("tenancy", "modelgroups", "billing", "jobs")
EDITABLE: tuple[type[models.Model], ...] = (Organization, Team, ModelGroup)
MODELS: list[type[models.Model]] = [model for app in OURS for model in apps.get_app_config(app).get_models()]
#: Made and deleted in the console, by forms of their own (tests/modelgroups).
MADE_HERE: tuple[type[models.Model], ...] = (ModelGroup, ProviderCredential)
READ_ONLY = [model for model in MODELS if model not in EDITABLE]

#: Of one page, whatever it holds: session, user, counts, dates and the rows.
MOST_QUERIES = 12
#: Pages with tables of several kinds.
MOST_QUERIES_OF = {Team: 15, Organization: 15, RefillUpload: 15, TeamUser: 15}


def make_call(job: Job, *, attempts: int = 2) -> Call:
    now = timezone.now()
    call = Call.objects.create(
        job=job,
        team=job.team,
        group=ModelGroup.objects.first(),
        model_group="ResumeAgent",
        state=Call.State.SUCCEEDED,
        cost_usd=Decimal("0.0015"),
        latency_ms=7,
        started_at=now,
        ended_at=now,
        deadline_at=now,
        process_id=uuid.uuid4(),
    )
    for sequence in range(1, attempts + 1):
        Attempt.objects.create(
            call=call,
            sequence=sequence,
            model_name=f"model-{sequence}",
            outcome="succeeded",
            latency_ms=5,
            cost_usd=Decimal("0.0015"),
            started_at=now,
        )
    return call


def make_job(team: Team, *, calls: int = 2) -> Job:
    reference = TeamRef(team.pk, team.team_id, team.organization.organization_id, False, None)
    opened = open_job(team=reference, virtual_key_id=None, job_type="parse", user_id="u", metadata={"a": 1})
    job = Job.objects.get(id=opened.job_id)
    for _ in range(calls):
        make_call(job)
    end_job(job_id=job.id, team_pk=team.pk, status="completed", metadata={}, error_message="", actor="test")
    return job


def make_world(name: str) -> None:
    """Rows in every table; called again, more of them, both beside and below what was there."""
    secrets = ModelSpec("gpt-4o", 1, {"api_key": f"sk-provider-{name}"})
    group = make_group(f"Group-{name}", [ModelSpec("gpt-4o-mini"), secrets])
    make_tenant(name, groups=[group])
    Organization.objects.update(alert_emails=["customer@example.com", "cto@example.com"])
    for team in Team.objects.select_related("organization"):
        create_virtual_key(team=team, name=name)
        job = make_job(team)
        make_call(job, attempts=1)
        limits = {"credits": Decimal(5), "direct_cost": Decimal("0.5")}
        change_user(user_pk=TeamUser.objects.get(team=team).pk, limits=limits, actor="test")
        endpoint = create_endpoint(owner=team, url="https://8.8.8.8/", event_types=[], description=name)
        send_test(endpoint_id=endpoint.row.id, team_pk=team.pk)
        audit.record(actor="test", action="team.changed", subject=team.team_id, team_pk=team.pk, after={"name": name})
        open_alert(rule=Alert.Rule.BUDGET_USED, finding=Finding(f"{team} {name}", "80", team_pk=team.pk))
    create_operator_key(name=name, scopes=["all"])
    create_credential(
        name=f"main-{name}", provider="openai", api_base="", secret="sk-x", organization_pk=None, actor="test"
    )
    for model in GroupModel.objects.all():
        ModelCheck.objects.create(
            model=model,
            group_name=group,
            model_name=model.model_name,
            actor=name,
            state="succeeded",
            ended_at=timezone.now(),
        )
    now = timezone.now()
    uploader, _ = User.objects.get_or_create(username="uploader")
    content = b"team,amount\n" + b"".join(f"{team},1\nnobody {name},1\n".encode() for team in Team.objects.all())
    create_upload(upload_id=uuid.uuid4(), file_name=name, content=content, kind="refill", user=uploader, actor=name)
    for account in CreditAccount.objects.filter(refill_policy=None):
        set_refill_policy(team_pk=account.pk, terms=PolicyTerms(every="day", amount=1))
    run_refill_policies()
    LedgerCheck.objects.create(started_at=now, ended_at=now, entries=1, breaches=[], actor=name)
    CallProcess.objects.create(id=uuid.uuid4(), name=name, started_at=now, heartbeat_at=now - timedelta(hours=1))
    for call in Call.objects.filter(content=None):
        CallContent.objects.create(call=call, request=b"secret prompt", answer=b"secret answer", erase_at=now)
    for team in Team.objects.all():
        found = {"proxy_team_id": team.team_id, "subject": name, "last_seen_at": now}
        ProxyDrift.objects.create(team=team, kind="key_foreign", **found)
        spent = {"key_hash": "0" * 64, "is_platform": True, "spend_usd": Decimal("0.1")}
        ProxySpend.objects.create(team=team, day=now.date(), model_name=name, read_at=now, **spent)
    list(rebuild_rollups(first=now.date(), last=now.date()))
    LateChange.objects.create(day=now.date() - timedelta(days=1), origin=name)
    IdempotencyRecord.objects.create(scope="open", key=name, request_hash=b"hash-of-a-request", reply=b"secret reply")


@pytest.fixture
def world(db: None) -> Callable[[str], None]:
    make_world("a")
    return make_world


@pytest.fixture
def superuser(db: None) -> AdminClient:
    return AdminClient()


def test_every_model_is_registered() -> None:
    assert [model for model in MODELS if not admin.site.is_registered(model)] == []
    assert {CreditAccount, CreditHold, LedgerEntry, Attempt, Call, Job, VirtualKey} <= set(READ_ONLY)
    assert {WebhookEndpoint, WebhookEvent, WebhookDelivery, Alert, AlertMail} <= set(READ_ONLY)
    assert {OperatorKey, GroupModel, GroupAssignment, CallProcess, IdempotencyRecord, AuditEntry} <= set(READ_ONLY)


def test_the_index_names_the_product(superuser: AdminClient) -> None:
    html = superuser.html("index")
    assert "Job credits" in html
    assert "Ledger entries" in html


def test_nobody_gets_in_without_logging_in(world: object, client: object) -> None:
    response = client.get("/admin/billing/ledgerentry/")  # type: ignore[attr-defined]
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("model", MODELS)
def test_a_list_takes_the_same_few_queries_however_long(
    world: Callable[[str], None], superuser: AdminClient, model: type[models.Model]
) -> None:
    page = page_of(model, "changelist")
    before = superuser.queries(page)
    world("b")
    world("c")
    assert superuser.queries(page) == before <= MOST_QUERIES


@pytest.mark.parametrize("model", MODELS)
def test_a_page_takes_the_same_few_queries_whatever_hangs_on_it(
    world: Callable[[str], None], superuser: AdminClient, model: type[models.Model]
) -> None:
    instance = model._default_manager.order_by("pk").first()
    assert instance is not None
    page = page_of(model, "change")
    before = superuser.queries(page, instance.pk)
    world("b")
    for job in Job.objects.all():
        make_call(job)
    assert superuser.queries(page, instance.pk) == before <= MOST_QUERIES_OF.get(model, MOST_QUERIES)


def test_every_list_can_be_searched_for_anything(world: object, superuser: AdminClient) -> None:
    for model in MODELS:
        for term in ("a", str(uuid.uuid4()), '"', "x" * 300):
            superuser.html(page_of(model, "changelist"), q=term)


@pytest.mark.parametrize("model", [model for model in MODELS if isinstance(model._meta.pk, models.UUIDField)])
def test_a_search_for_an_id_finds_it_alone(
    world: Callable[[str], None], superuser: AdminClient, model: type[models.Model]
) -> None:
    world("b")
    instance = model._default_manager.order_by("pk").first()
    assert instance is not None
    assert list(superuser.get(page_of(model, "changelist"), q=str(instance.pk)).context["cl"].queryset) == [instance]


@pytest.mark.parametrize("model", [model for model in MODELS if model not in MADE_HERE])
def test_nothing_is_added_or_deleted(world: object, superuser: AdminClient, model: type[models.Model]) -> None:
    instance = model._default_manager.order_by("pk").first()
    assert instance is not None
    count = model._default_manager.count()
    assert superuser.get(page_of(model, "add")).status_code == 403
    assert superuser.post(page_of(model, "add"), anything="x").status_code == 403
    assert superuser.get(page_of(model, "delete"), instance.pk).status_code == 403
    assert superuser.post(page_of(model, "delete"), instance.pk, post="yes").status_code == 403
    superuser.action(page_of(model, "changelist"), "delete_selected", instance.pk)
    assert "delete_selected" not in superuser.html(page_of(model, "changelist"))
    assert model._default_manager.count() == count


@pytest.mark.parametrize("model", READ_ONLY)
def test_what_is_read_only_has_no_form_and_refuses_a_post(
    world: object, superuser: AdminClient, model: type[models.Model]
) -> None:
    instance = model._default_manager.order_by("pk").first()
    assert instance is not None
    before = row(instance)
    assert 'name="_save"' not in superuser.html(page_of(model, "change"), instance.pk)
    fields = {field.attname: "7" for field in model._meta.concrete_fields}
    assert superuser.post(page_of(model, "change"), instance.pk, **fields, _save="Save").status_code == 403
    assert row(instance) == before


@pytest.mark.parametrize("model", EDITABLE)
def test_who_may_only_view_gets_no_form(world: object, model: type[models.Model]) -> None:
    name = f"{model._meta.app_label}.view_{model._meta.model_name}"
    viewer = AdminClient([name])
    instance = model._default_manager.order_by("pk").first()
    assert instance is not None
    before = row(instance)
    html = viewer.html(page_of(model, "change"), instance.pk)
    assert 'name="_save"' not in html
    assert 'name="metadata"' not in html
    assert viewer.post(page_of(model, "change"), instance.pk, metadata='{"a": 1}').status_code == 403
    assert row(instance) == before


def test_who_may_nothing_sees_nothing(world: object) -> None:
    nobody = AdminClient([])
    for model in MODELS:
        instance = model._default_manager.order_by("pk").first()
        assert instance is not None
        assert nobody.get(page_of(model, "changelist")).status_code == 403
        assert nobody.get(page_of(model, "change"), instance.pk).status_code == 403
