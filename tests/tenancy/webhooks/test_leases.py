"""One worker at a time delivers to an endpoint, and what changes meanwhile counts; and what is forgotten in the end."""

import uuid
from datetime import UTC, datetime, timedelta

import time_machine
from django.utils import timezone

from tenancy.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tenancy.services.webhooks import delivery, endpoints, outbox
from tenancy.services.webhooks.sending import Outcome
from tests.support.api import Tenant
from tests.support.receiver import Receiver, running_receiver
from tests.tenancy.webhooks.conftest import MakeEndpoint, emit, numbers, states, work

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def test_nobody_delivers_to_an_endpoint_that_somebody_delivers_to(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    new = make_endpoint()
    emit(tenant, n=1)
    outbox.dispatch_events()
    taken = WebhookEndpoint.objects.filter(id=new.row.id)
    with time_machine.travel(NOON, tick=False) as clock:
        taken.update(lease_id=uuid.uuid4(), leased_until=NOON + timedelta(seconds=40))
        assert delivery.endpoints_with_work() == []
        assert delivery.deliver(endpoint_id=new.row.id) == 0
        # Its worker has died.
        clock.shift(41)
        assert delivery.endpoints_with_work() == [new.row.id]
        assert delivery.deliver(endpoint_id=new.row.id) == 1
    assert taken.get().lease_id is None


def test_whoever_loses_the_lease_stops_but_what_was_delivered_counts(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    new = make_endpoint()
    emit(tenant, n=1)
    emit(tenant, n=2)
    outbox.dispatch_events()
    lease = delivery._take(new.row.id)
    assert lease is not None
    WebhookEndpoint.objects.filter(id=new.row.id).update(lease_id=uuid.uuid4())

    due = delivery._next_due(lease)
    assert due is not None
    assert delivery._record(lease, due, Outcome(200, "", 1)) is False

    assert states() == ["delivered", "pending"]


def test_a_late_failure_does_not_undo_anothers_success(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    """The lease has run out while the first worker waited for its answer, and a second one was faster."""
    new = make_endpoint()
    emit(tenant, n=1)
    lease = delivery._take(_dispatched(new.row.id))
    assert lease is not None
    due = delivery._next_due(lease)
    assert due is not None
    WebhookEndpoint.objects.update(leased_until=timezone.now())
    assert work() == 1

    assert delivery._record(lease, due, Outcome(None, "timeout", 10_000)) is False

    assert states() == ["delivered"]
    assert WebhookEndpoint.objects.get().consecutive_failures == 0


def test_a_change_of_the_endpoint_counts_from_the_next_event_on(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    """The first request is still on its way to the old place while the endpoint moves."""
    new = make_endpoint()
    emit(tenant, n=1)
    emit(tenant, n=2)
    with running_receiver() as elsewhere:
        lease = delivery._take(_dispatched(new.row.id))
        assert lease is not None
        due = delivery._next_due(lease)
        assert due is not None
        endpoints.update_endpoint(endpoint_id=new.row.id, team_pk=tenant.team_pk, url=elsewhere.url)
        assert delivery._record(lease, due, Outcome(200, "", 1)) is False
        WebhookEndpoint.objects.update(lease_id=None, leased_until=None)
        work()
    assert numbers(elsewhere) == [2]


def _dispatched(endpoint_id: uuid.UUID) -> uuid.UUID:
    outbox.dispatch_events()
    return endpoint_id


def test_a_deleted_endpoint_is_not_written_to(tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint) -> None:
    new = make_endpoint()
    emit(tenant, n=1)
    lease = delivery._take(_dispatched(new.row.id))
    assert lease is not None
    due = delivery._next_due(lease)
    assert due is not None
    endpoints.delete_endpoint(endpoint_id=new.row.id, team_pk=tenant.team_pk)

    assert delivery._record(lease, due, Outcome(200, "", 1)) is False
    assert WebhookDelivery.objects.count() == 0


def test_old_events_are_forgotten_but_not_those_that_wait(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    emit(tenant, n=1)
    work()
    receiver.status = 500
    emit(tenant, n=2)
    work()

    with time_machine.travel(timezone.now() + timedelta(days=31)):
        assert outbox.purge_events() == 1

    assert WebhookEvent.objects.get().data["n"] == 2
    assert outbox.purge_events() == 0
