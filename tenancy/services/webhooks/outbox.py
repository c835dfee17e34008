"""From events to deliveries: who is to be told, who once more, and what may be forgotten."""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from tenancy.errors import WebhookEndpointDisabled, WebhookEventNotFound
from tenancy.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tenancy.queries.webhooks import endpoint_of

#: Every active endpoint of the team, or of its organization, that subscribes to the event. Two of these at once each
#: take other events.
_DISPATCH = """
    WITH fresh AS (
        SELECT id, team_id, type FROM tenancy_webhookevent WHERE NOT is_dispatched
        ORDER BY id LIMIT %(batch)s
        FOR UPDATE SKIP LOCKED
    ),
    made AS (
        INSERT INTO tenancy_webhookdelivery
            (id, endpoint_id, event_id, state, attempts, next_try_at, last_problem, created_at)
        SELECT gen_random_uuid(), e.id, fresh.id, 'pending', 0, %(now)s, '', %(now)s
        FROM fresh
        JOIN tenancy_team t ON t.id = fresh.team_id
        JOIN tenancy_webhookendpoint e ON e.team_id = t.id OR e.organization_id = t.organization_id
        WHERE e.state = 'active' AND (e.event_types = '{}' OR fresh.type = ANY (e.event_types))
        ON CONFLICT DO NOTHING
    )
    UPDATE tenancy_webhookevent SET is_dispatched = true FROM fresh WHERE tenancy_webhookevent.id = fresh.id
"""


def dispatch_events(*, batch: int = 1000) -> int:
    """Make the deliveries of new events; returns of how many."""
    with connection.cursor() as cursor:
        cursor.execute(_DISPATCH, {"now": timezone.now(), "batch": batch})
        return cursor.rowcount


@transaction.atomic
def purge_events(*, batch: int = 5000) -> int:
    """Forget events older than settings.WEBHOOK_EVENT_TTL_S, and their deliveries; returns how many.

    Not those that an active endpoint still waits for.
    """
    horizon = timezone.now() - timedelta(seconds=settings.WEBHOOK_EVENT_TTL_S)
    waiting = WebhookDelivery.objects.filter(
        event=OuterRef("pk"), state=WebhookDelivery.State.PENDING, endpoint__state=WebhookEndpoint.State.ACTIVE
    )
    old = WebhookEvent.objects.filter(created_at__lt=horizon).exclude(Exists(waiting))
    chosen = list(old.order_by("id").values_list("id", flat=True)[:batch])
    return WebhookEvent.objects.filter(id__in=chosen).delete()[1].get("tenancy.WebhookEvent", 0)


@transaction.atomic
def replay_event(*, endpoint_id: UUID, team_pk: int | None, event_id: UUID) -> int:
    """Deliver an event to the endpoint once more, under the same message id, whatever became of it.

    Raises WebhookEndpointNotFound, WebhookEndpointDisabled, WebhookEventNotFound.
    """
    endpoint = _active_endpoint(endpoint_id, team_pk)
    if not (replayed := _replay(endpoint.deliveries.filter(event__event_id=event_id))):
        raise WebhookEventNotFound
    return replayed


@transaction.atomic
def replay_failed(*, endpoint_id: UUID, team_pk: int | None, since: datetime) -> int:
    """Deliver all failed events since then once more, those first that happened first; returns how many.

    Raises WebhookEndpointNotFound, WebhookEndpointDisabled.
    """
    endpoint = _active_endpoint(endpoint_id, team_pk)
    failed = endpoint.deliveries.filter(state=WebhookDelivery.State.FAILED, event__created_at__gte=since)
    return _replay(failed)


@transaction.atomic
def replay_deliveries(*, delivery_ids: list[UUID]) -> int:
    """The same for chosen deliveries of active endpoints, an operator's; returns how many."""
    return _replay(WebhookDelivery.objects.filter(id__in=delivery_ids, endpoint__state=WebhookEndpoint.State.ACTIVE))


@transaction.atomic
def send_test(*, endpoint_id: UUID, team_pk: int | None) -> WebhookDelivery:
    """Send the endpoint an event of type `webhook.test`, whatever it subscribes to.

    Raises WebhookEndpointNotFound, WebhookEndpointDisabled.
    """
    endpoint = _active_endpoint(endpoint_id, team_pk)
    team = endpoint.team
    organization = team.organization if team else endpoint.organization
    data = {
        "team_id": team.team_id if team else None,
        "organization_id": organization.organization_id if organization else None,
        "endpoint_id": str(endpoint.id),
    }
    event = WebhookEvent.objects.create(team=team, type=WebhookEvent.Type.TEST, data=data, is_dispatched=True)
    return WebhookDelivery.objects.create(endpoint=endpoint, event=event, next_try_at=timezone.now())


def _active_endpoint(endpoint_id: UUID, team_pk: int | None) -> WebhookEndpoint:
    endpoint = endpoint_of(endpoint_id, team_pk=team_pk, lock=True)
    if endpoint.state != WebhookEndpoint.State.ACTIVE:
        raise WebhookEndpointDisabled
    return endpoint


def _replay(deliveries: QuerySet[WebhookDelivery]) -> int:
    return deliveries.update(state=WebhookDelivery.State.PENDING, attempts=0, next_try_at=timezone.now())
