"""The outbox: suspended teams, who is told, and what the admin may do with it."""

import uuid

import pytest

from tenancy.models import Organization, Team, WebhookDelivery, WebhookEndpoint
from tenancy.services.webhooks import outbox
from tests.support.admin import AdminClient
from tests.support.api import Tenant, make_tenant
from tests.support.events import events, subscribe, subscribe_organization
from tests.support.receiver import Receiver
from tests.tenancy.webhooks.conftest import MakeEndpoint, work

DELIVERIES = "tenancy_webhookdelivery_changelist"


def suspend(row: Team | Organization, status: str = "suspended") -> None:
    row.status = status
    row.save()


def test_a_suspended_team_is_told_of_once(tenant: Tenant) -> None:
    subscribe(tenant)
    team = Team.objects.get(pk=tenant.team_pk)
    suspend(team)
    team.team_alias = "renamed"
    suspend(team)
    assert [(event["type"], event["suspended"]) for event in events()] == [("team.suspended", "team")]
    suspend(team, "active")
    assert len(events()) == 1
    suspend(team)
    assert len(events()) == 2


def test_a_suspended_organization_suspends_all_its_active_teams(tenant: Tenant) -> None:
    subscribe_organization(tenant)
    make_tenant("b")
    team = Team.objects.get(pk=tenant.team_pk)
    sister = Team.objects.create(organization=team.organization, team_id="sister")
    suspend(Team.objects.create(organization=team.organization, team_id="suspended_before"))

    suspend(team.organization)

    told = [(event["team_id"], event["suspended"]) for event in events()]
    assert told == [
        ("suspended_before", "team"), (tenant.team_id, "organization"), (sister.team_id, "organization")
    ]  # fmt: skip


def test_only_who_subscribes_is_sent_an_event(tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint) -> None:
    team = Team.objects.select_related("organization").get(pk=tenant.team_pk)
    wanted = [
        make_endpoint(), make_endpoint("team.suspended", "job.failed"), make_endpoint(owner=team.organization)
    ]  # fmt: skip
    make_endpoint("job.failed")
    disabled = make_endpoint()
    WebhookEndpoint.objects.filter(id=disabled.row.id).update(state="disabled", disabled_reason="requested")
    other = Team.objects.get(pk=make_tenant("b").team_pk)
    make_endpoint(owner=other)
    suspend(team)

    assert outbox.dispatch_events() == 1
    assert outbox.dispatch_events() == 0

    told = WebhookDelivery.objects.values_list("endpoint_id", flat=True)
    assert set(told) == {endpoint.row.id for endpoint in wanted}
    assert work() == 3
    assert len(set(receiver.ids)) == 1


@pytest.fixture
def delivered(tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint) -> WebhookDelivery:
    make_endpoint()
    suspend(Team.objects.get(pk=tenant.team_pk))
    work()
    return WebhookDelivery.objects.get()


def test_an_operator_replays_in_the_admin(delivered: WebhookDelivery, receiver: Receiver) -> None:
    admin = AdminClient(["tenancy.view_webhookdelivery", "tenancy.change_webhookdelivery"])

    assert admin.action(DELIVERIES, "replay", delivered.pk).status_code == 302
    work()

    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1


def test_who_may_only_look_does_not(delivered: WebhookDelivery, receiver: Receiver) -> None:
    viewer = AdminClient(["tenancy.view_webhookdelivery"])
    assert "Deliver selected" not in viewer.html(DELIVERIES)
    viewer.action(DELIVERIES, "replay", delivered.pk)
    assert work() == 0


def test_looking_at_the_list_replays_nothing(delivered: WebhookDelivery, receiver: Receiver) -> None:
    AdminClient().get(DELIVERIES, action="replay", _selected_action=str(delivered.pk))
    assert work() == 0


def test_nothing_is_replayed_to_a_disabled_endpoint(delivered: WebhookDelivery) -> None:
    WebhookEndpoint.objects.update(state="disabled", disabled_reason="requested")
    AdminClient().action(DELIVERIES, "replay", delivered.pk)
    delivered.refresh_from_db()
    assert delivered.state == "delivered"


def test_the_admin_shows_no_secret(delivered: WebhookDelivery) -> None:
    admin = AdminClient()
    endpoint = WebhookEndpoint.objects.get()
    html = admin.html("tenancy_webhookendpoint_change", endpoint.pk)
    assert bytes(endpoint.secret_encrypted).decode() not in html
    assert admin.get("tenancy_webhookendpoint_changelist", secret_encrypted__startswith="g").status_code in (302, 400)
    assert admin.get("tenancy_webhookevent_changelist", q=str(uuid.uuid4())).status_code == 200
