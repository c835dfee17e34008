"""The outbox, as tests look at it."""

from typing import Any

from django.db import connection

from tenancy.models import Organization, Team, WebhookEvent
from tenancy.services.webhooks.endpoints import create_endpoint
from tests.support.api import Tenant

#: Public, and never sent to: these tests have no worker.
NOWHERE = "https://8.8.8.8/"


def subscribe(tenant: Tenant, *event_types: str) -> None:
    create_endpoint(owner=Team.objects.get(pk=tenant.team_pk), url=NOWHERE, event_types=event_types)


def subscribe_organization(tenant: Tenant, *event_types: str) -> None:
    owner = Organization.objects.get(organization_id=tenant.organization_id)
    create_endpoint(owner=owner, url=NOWHERE, event_types=event_types)


def events(*event_types: str) -> list[dict[str, Any]]:
    """Type and data of what is in the outbox, in order, as of a commit here."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    found = WebhookEvent.objects.order_by("id")
    return [{"type": event.type, **event.data} for event in found if not event_types or event.type in event_types]
