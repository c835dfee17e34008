"""Endpoints and their deliveries."""

from uuid import UUID

from django.db.models import QuerySet

from tenancy.errors import WebhookEndpointNotFound
from tenancy.models import Organization, Team, WebhookDelivery, WebhookEndpoint


def endpoint_of(endpoint_id: UUID, *, team_pk: int | None, lock: bool = False) -> WebhookEndpoint:
    """An endpoint with its owner. `team_pk` None: anybody's. Raises WebhookEndpointNotFound."""
    endpoints = WebhookEndpoint.objects.select_related("team__organization", "organization").filter(id=endpoint_id)
    if team_pk is not None:
        endpoints = endpoints.filter(team_id=team_pk)
    if lock:
        endpoints = endpoints.select_for_update(of=("self",), no_key=True)
    endpoint = endpoints.first()
    if endpoint is None:
        raise WebhookEndpointNotFound
    return endpoint


def endpoints_of(owner: Team | Organization) -> QuerySet[WebhookEndpoint]:
    """A team's or an organization's own, newest first."""
    owned = {"team": owner} if isinstance(owner, Team) else {"organization": owner}
    return WebhookEndpoint.objects.select_related("team__organization", "organization").filter(**owned)


def deliveries_of(endpoint: WebhookEndpoint, *, state: str | None = None) -> QuerySet[WebhookDelivery]:
    """An endpoint's deliveries with their events, newest first."""
    deliveries = endpoint.deliveries.select_related("event").order_by("-event_id")
    return deliveries.filter(state=state) if state else deliveries
