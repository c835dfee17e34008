"""A receiver, and endpoints that point to it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from tenancy.models import Team, WebhookDelivery
from tenancy.services.webhooks import delivery, outbox
from tenancy.services.webhooks.endpoints import NewSecret, create_endpoint
from tests.support.api import Tenant
from tests.support.receiver import Receiver, running_receiver

MakeEndpoint = Callable[..., NewSecret]


@pytest.fixture(autouse=True)
def _loopback_may_be_reached(settings: Any) -> None:
    settings.PRIVATE_WEBHOOK_HOSTS = ["127.0.0.1"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


@pytest.fixture
def make_endpoint(tenant: Tenant, receiver: Receiver) -> MakeEndpoint:
    def make(*event_types: str, **fields: Any) -> NewSecret:
        owner = Team.objects.get(pk=tenant.team_pk)
        return create_endpoint(**{"owner": owner, "url": receiver.url, "event_types": event_types, **fields})

    return make


def work() -> int:
    """What the beat has the workers do, once; returns how many attempts were made."""
    outbox.dispatch_events()
    return sum(delivery.deliver(endpoint_id=endpoint_id) for endpoint_id in delivery.endpoints_with_work())


def emit(tenant: Tenant, event_type: str = "credits.refilled", **data: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenancy_emit_event(%s, %s, %s)", [tenant.team_pk, event_type, json.dumps(data)])


def numbers(receiver: Receiver) -> list[int]:
    return [request.payload["data"]["n"] for request in receiver.requests]


def states() -> list[str]:
    return list(WebhookDelivery.objects.order_by("event_id").values_list("state", flat=True))
