"""Endpoints over HTTP: who may, what is answered, and that a secret is shown once."""

import base64
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tenancy.models import Team, WebhookDelivery, WebhookEndpoint
from tenancy.services.webhooks import endpoints
from tests.support.api import ApiClient, Tenant, make_operator, make_tenant
from tests.support.receiver import Receiver
from tests.tenancy.webhooks.conftest import work

PATH = "/api/webhooks"


def create(client: ApiClient, receiver: Receiver, **fields: Any) -> Any:
    answer = client.post(PATH, {"url": receiver.url, **fields})
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.fixture
def other(tenant: Tenant) -> Tenant:
    return make_tenant("b")


def test_a_team_makes_an_endpoint_of_its_own_and_sees_the_secret_once(tenant: Tenant, receiver: Receiver) -> None:
    made = create(tenant.api, receiver, event_types=["job.failed"], description="CI")

    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64
    assert (made["team_id"], made["organization_id"]) == (tenant.team_id, tenant.organization_id)
    assert (made["state"], made["event_types"], made["description"]) == ("active", ["job.failed"], "CI")
    assert tenant.api.get(f"{PATH}/{made['endpoint_id']}").json() == made
    assert tenant.api.get(PATH).json() == {"webhooks": [made]}
    assert tenant.api.get(PATH, team_id=tenant.team_id).json() == {"webhooks": [made]}


def test_an_operator_makes_one_for_a_team_or_for_a_whole_organization(
    tenant: Tenant, operator: ApiClient, receiver: Receiver
) -> None:
    of_team = create(operator, receiver, team_id=tenant.team_id)
    of_all = create(operator, receiver, organization_id=tenant.organization_id)

    assert (of_team["team_id"], of_all["team_id"]) == (tenant.team_id, None)
    assert of_team["organization_id"] == of_all["organization_id"] == tenant.organization_id
    listed = operator.get(PATH, organization_id=tenant.organization_id).json()["webhooks"]
    assert [endpoint["endpoint_id"] for endpoint in listed] == [of_all["endpoint_id"]]


@pytest.mark.parametrize("field", ["team_id", "organization_id"])
def test_a_teams_key_may_not_name_others(tenant: Tenant, other: Tenant, receiver: Receiver, field: str) -> None:
    body = {"url": receiver.url, field: getattr(other, field)}
    code = "wrong_team" if field == "team_id" else "operator_required"

    for answer in (tenant.api.post(PATH, body), tenant.api.get(PATH, **{field: getattr(other, field)})):
        assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert WebhookEndpoint.objects.count() == 0


def test_another_teams_endpoint_is_not_there(tenant: Tenant, other: Tenant, receiver: Receiver) -> None:
    made = create(other.api, receiver)
    before = WebhookEndpoint.objects.values().get()
    path = f"{PATH}/{made['endpoint_id']}"

    for answer in (
        tenant.api.get(path),
        tenant.api.patch(path, {"is_enabled": False}),
        tenant.api.delete(path),
        tenant.api.post(f"{path}/rotate"),
        tenant.api.post(f"{path}/test"),
        tenant.api.post(f"{path}/replay", {"event_id": str(uuid.uuid4())}),
        tenant.api.get(f"{path}/deliveries"),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (404, "Webhook endpoint not found")
    assert WebhookEndpoint.objects.values().get() == before


def test_nor_is_an_organizations_for_its_teams(tenant: Tenant, operator: ApiClient, receiver: Receiver) -> None:
    made = create(operator, receiver, organization_id=tenant.organization_id)
    assert tenant.api.get(f"{PATH}/{made['endpoint_id']}").status_code == 404
    assert tenant.api.get(PATH).json() == {"webhooks": []}


def test_nobody_without_a_key_and_no_operator_without_the_scope(tenant: Tenant, receiver: Receiver) -> None:
    made = create(tenant.api, receiver)
    path = f"{PATH}/{made['endpoint_id']}"
    reader = make_operator("reader", ["read"])

    assert ApiClient().post(PATH, {"url": receiver.url}).status_code == 401
    assert ApiClient().get(path).status_code == 401
    assert reader.get(path).status_code == 200
    for refused in (reader.post(f"{path}/rotate"), reader.delete(path), reader.patch(path, {"is_enabled": False})):
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert WebhookEndpoint.objects.get().state == "active"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"), ({"url": 7}, "url"), ({"url": "https://10.0.0.1/"}, "url"), ({"url": "http://8.8.8.8/"}, "url"),
        ({"event_types": ["job.started"]}, "event_types"), ({"event_types": ["webhook.test"]}, "event_types"),
        ({"event_types": "job.failed"}, "event_types"), ({"event_types": [7]}, "event_types.0"),
        ({"description": "x" * 256}, "description"), ({"team_id": "a b"}, "team_id"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tenant: Tenant, receiver: Receiver, body: Any, field: str) -> None:
    answer = tenant.api.post(PATH, {"url": receiver.url, **body} if body else {})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field
    assert WebhookEndpoint.objects.count() == 0


def test_an_operator_has_to_say_whose(tenant: Tenant, operator: ApiClient, receiver: Receiver) -> None:
    both = {"team_id": tenant.team_id, "organization_id": tenant.organization_id}
    assert operator.post(PATH, {"url": receiver.url}).status_code == 400
    assert operator.post(PATH, {"url": receiver.url, **both}).status_code == 400
    assert operator.get(PATH).status_code == 400
    assert operator.get(PATH, team_id="a b").status_code == 400
    assert operator.get(PATH, team_id="team_none").status_code == 404


def test_an_endpoint_is_changed_field_by_field(tenant: Tenant, receiver: Receiver) -> None:
    made = create(tenant.api, receiver, event_types=["job.failed"])
    path = f"{PATH}/{made['endpoint_id']}"

    changed = tenant.api.patch(path, {"url": receiver.url + "/2"}).json()
    assert (changed["url"], changed["event_types"]) == (receiver.url + "/2", ["job.failed"])
    assert tenant.api.patch(path, {"event_types": []}).json()["event_types"] == []
    disabled = tenant.api.patch(path, {"is_enabled": False}).json()
    assert (disabled["state"], disabled["disabled_reason"]) == ("disabled", "requested")
    enabled = tenant.api.patch(path, {"is_enabled": True}).json()
    assert (enabled["state"], enabled["disabled_reason"]) == ("active", "")
    for wrong in ({"is_enabled": "false"}, {"is_enabled": 0}, {"url": "https://127.1/"}, {"event_types": ["x"]}):
        assert tenant.api.patch(path, wrong).status_code == 400
    assert tenant.api.get(path).json() == {**enabled, "updated_at": tenant.api.get(path).json()["updated_at"]}


def test_a_rotation_answers_the_new_secret_once(tenant: Tenant, receiver: Receiver) -> None:
    made = create(tenant.api, receiver)
    path = f"{PATH}/{made['endpoint_id']}"

    rotated = tenant.api.post(f"{path}/rotate", {"grace_seconds": 60}).json()

    assert rotated["secret"] != made["secret"]
    assert rotated["previous_secret_until"] is not None
    assert "secret" not in tenant.api.get(path).json()
    assert tenant.api.post(f"{path}/rotate", {"grace_seconds": 0}).json()["previous_secret_until"] is None
    assert tenant.api.post(f"{path}/rotate", {"grace_seconds": -1}).status_code == 400


def test_a_deleted_endpoint_is_gone_with_its_deliveries(tenant: Tenant, receiver: Receiver) -> None:
    made = create(tenant.api, receiver)
    path = f"{PATH}/{made['endpoint_id']}"
    tenant.api.post(f"{path}/test")

    assert tenant.api.delete(path).json() == {"endpoint_id": made["endpoint_id"], "deleted": True}

    assert tenant.api.get(path).status_code == 404
    assert WebhookDelivery.objects.count() == 0


def test_a_test_event_comes_whatever_is_subscribed_to(tenant: Tenant, operator: ApiClient, receiver: Receiver) -> None:
    made = create(tenant.api, receiver, event_types=["job.failed"])
    of_all = create(operator, receiver, organization_id=tenant.organization_id)
    assert tenant.api.post(f"{PATH}/{made['endpoint_id']}/test").json()["type"] == "webhook.test"
    assert operator.post(f"{PATH}/{of_all['endpoint_id']}/test").status_code == 200

    assert work() == 2

    for endpoint in (made, of_all):
        (request,) = (r for r in receiver.requests if r.payload["data"]["endpoint_id"] == endpoint["endpoint_id"])
        assert request.verified(endpoint["secret"])["data"]["team_id"] == endpoint["team_id"]


def test_deliveries_are_listed_newest_first_and_by_state(tenant: Tenant, receiver: Receiver) -> None:
    path = f"{PATH}/{create(tenant.api, receiver)['endpoint_id']}"
    receiver.statuses = [200, 500]
    for _ in range(2):
        tenant.api.post(f"{path}/test")
    work()

    listed = tenant.api.get(f"{path}/deliveries").json()

    assert listed["total_deliveries"] == 2
    newest, oldest = listed["deliveries"]
    assert (newest["state"], newest["attempts"], newest["last_status"]) == ("pending", 1, 500)
    assert (oldest["state"], oldest["attempts"], oldest["last_status"]) == ("delivered", 1, 200)
    assert oldest["payload"] == receiver.requests[0].payload
    page = tenant.api.get(f"{path}/deliveries", state="delivered", limit=1)
    assert page.json()["deliveries"] == [oldest]
    assert 'rel="first"' in page.headers["Link"]
    assert tenant.api.get(f"{path}/deliveries", state="lost").status_code == 400


def test_one_event_is_replayed_under_its_message_id(tenant: Tenant, receiver: Receiver) -> None:
    path = f"{PATH}/{create(tenant.api, receiver)['endpoint_id']}"
    event = tenant.api.post(f"{path}/test").json()["event_id"]
    work()

    assert tenant.api.post(f"{path}/replay", {"event_id": event}).json() == {"replayed": 1}
    work()

    assert receiver.ids == [event, event]
    assert receiver.requests[0].body == receiver.requests[1].body


def test_all_that_failed_since_is_replayed_in_order(tenant: Tenant, receiver: Receiver, settings: Any) -> None:
    settings.WEBHOOK_RETRY_DELAYS_S = [0.001]
    path = f"{PATH}/{create(tenant.api, receiver)['endpoint_id']}"
    sent = [tenant.api.post(f"{path}/test").json()["event_id"] for _ in range(3)]
    receiver.status = 500
    while WebhookDelivery.objects.filter(state="pending").exists():
        work()
    receiver.status = 200
    receiver.requests.clear()

    later = (timezone.now() + timedelta(hours=1)).isoformat()
    assert tenant.api.post(f"{path}/replay", {"failed_since": later}).json() == {"replayed": 0}
    earlier = (timezone.now() - timedelta(hours=1)).isoformat()
    assert tenant.api.post(f"{path}/replay", {"failed_since": earlier}).json() == {"replayed": 3}
    WebhookEndpoint.objects.update(failing_since=None, consecutive_failures=0, resume_at=None)
    assert work() == 3
    assert receiver.ids == sent
    assert tenant.api.post(f"{path}/replay", {"failed_since": earlier}).json() == {"replayed": 0}


def test_a_replay_that_names_nothing_or_both_is_refused(tenant: Tenant, receiver: Receiver) -> None:
    path = f"{PATH}/{create(tenant.api, receiver)['endpoint_id']}"
    event, since = str(uuid.uuid4()), "2025-01-01T00:00:00Z"

    for wrong in ({}, {"event_id": event, "failed_since": since}, {"event_id": 7}, {"failed_since": "yesterday"}):
        assert tenant.api.post(f"{path}/replay", wrong).status_code == 400, wrong
    unknown = tenant.api.post(f"{path}/replay", {"event_id": event})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


def test_nothing_is_sent_to_a_disabled_endpoint(tenant: Tenant, receiver: Receiver) -> None:
    path = f"{PATH}/{create(tenant.api, receiver)['endpoint_id']}"
    event = tenant.api.post(f"{path}/test").json()["event_id"]
    tenant.api.patch(path, {"is_enabled": False})

    for refused in (tenant.api.post(f"{path}/test"), tenant.api.post(f"{path}/replay", {"event_id": event})):
        assert (refused.status_code, refused.json()["code"]) == (409, "webhook_endpoint_disabled")
    assert work() == 0
    assert receiver.requests == []


def test_a_team_has_at_most_twenty(tenant: Tenant, operator: ApiClient, receiver: Receiver) -> None:
    for _ in range(endpoints.MAX_ENDPOINTS):
        create(tenant.api, receiver)
    refused = tenant.api.post(PATH, {"url": receiver.url})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_webhook_endpoints")
    assert WebhookEndpoint.objects.count() == endpoints.MAX_ENDPOINTS
    create(operator, receiver, organization_id=tenant.organization_id)


def test_a_repeated_creation_makes_one(tenant: Tenant, receiver: Receiver) -> None:
    answers = [
        tenant.api.post(PATH, {"url": receiver.url}, headers={"Idempotency-Key": "once"}).json() for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert WebhookEndpoint.objects.count() == 1


def test_a_suspended_team_is_told_but_may_do_nothing(tenant: Tenant, receiver: Receiver) -> None:
    made = create(tenant.api, receiver)
    Team.objects.filter(pk=tenant.team_pk).update(status="suspended")

    assert work() == 1
    assert receiver.requests[0].payload["data"] == {
        "team_id": tenant.team_id, "organization_id": tenant.organization_id, "suspended": "team"
    }  # fmt: skip
    assert tenant.api.get(f"{PATH}/{made['endpoint_id']}").json()["code"] == "team_suspended"
