"""Making, changing, rotating and deleting endpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from config.foundation import encryption
from config.foundation.errors import InvalidInput
from tenancy.errors import TooManyWebhookEndpoints
from tenancy.models import Alert, Organization, Team, WebhookDelivery, WebhookEndpoint, WebhookEvent
from tenancy.queries.webhooks import endpoint_of
from tenancy.services import audit
from tenancy.services.alerts import close_alert
from tenancy.services.webhooks import signing
from tenancy.services.webhooks.sending import check_url

#: Of one team, or of one organization: each event is sent to all of them.
MAX_ENDPOINTS = 20
#: What the audit log compares.
AUDITED = ("url", "event_types", "description", "state")
#: What an endpoint may subscribe to.
SUBSCRIBABLE = frozenset(WebhookEvent.Type.values) - {WebhookEvent.Type.TEST}


@dataclass(frozen=True)
class NewSecret:
    """An endpoint, and for the last time its secret."""

    row: WebhookEndpoint
    secret: str


@transaction.atomic
def create_endpoint(
    *,
    owner: Team | Organization,
    url: str,
    event_types: Sequence[str],
    description: str = "",
    actor: str = audit.SYSTEM,
) -> NewSecret:
    """An endpoint of a team, or of an organization and all its teams. No `event_types`: all of them.

    Raises InvalidInput, TooManyWebhookEndpoints.
    """
    check_url(url)
    # The owner is locked, so that two at once count each other.
    if isinstance(owner, Team):
        owned_by: dict[str, Any] = {"team": Team.objects.select_for_update(no_key=True).get(pk=owner.pk)}
    else:
        owned_by = {"organization": Organization.objects.select_for_update(no_key=True).get(pk=owner.pk)}
    if WebhookEndpoint.objects.filter(**owned_by).count() >= MAX_ENDPOINTS:
        raise TooManyWebhookEndpoints(MAX_ENDPOINTS)
    secret = signing.new_secret()
    row = WebhookEndpoint.objects.create(
        **owned_by,
        url=url,
        event_types=_checked_types(event_types),
        description=description,
        secret_encrypted=encryption.encrypt(secret.encode()),
    )
    _note(row, "webhook.created", actor, after=audit.fields_of(row, AUDITED))
    return NewSecret(row, secret)


@transaction.atomic
def update_endpoint(
    *, endpoint_id: UUID, team_pk: int | None, actor: str = audit.SYSTEM, **changes: Any
) -> WebhookEndpoint:
    """Change `url`, `event_types`, `description` or `is_enabled`; what is not given stays.

    An endpoint that is enabled again is sent at once what is still pending for it.
    Raises WebhookEndpointNotFound, InvalidInput.
    """
    endpoint = endpoint_of(endpoint_id, team_pk=team_pk, lock=True)
    was = audit.fields_of(endpoint, AUDITED)
    if "url" in changes:
        endpoint.url = check_url(changes["url"])
    if "event_types" in changes:
        endpoint.event_types = _checked_types(changes["event_types"])
    if "description" in changes:
        endpoint.description = changes["description"]
    match changes.get("is_enabled"):
        case True if endpoint.state == WebhookEndpoint.State.DISABLED:
            _enable(endpoint)
        case False if endpoint.state == WebhookEndpoint.State.ACTIVE:
            endpoint.state = WebhookEndpoint.State.DISABLED
            endpoint.disabled_reason = WebhookEndpoint.Reason.REQUESTED
    endpoint.save()
    before, after = audit.changes(was, audit.fields_of(endpoint, AUDITED))
    if after:
        _note(endpoint, "webhook.changed", actor, before=before, after=after)
    return endpoint


def _note(endpoint: WebhookEndpoint, action: str, actor: str, **fields: Any) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=str(endpoint.id),
        organization_pk=endpoint.organization_id,
        team_pk=endpoint.team_id,
        **fields,
    )


def _enable(endpoint: WebhookEndpoint) -> None:
    endpoint.state, endpoint.disabled_reason = WebhookEndpoint.State.ACTIVE, ""
    endpoint.failing_since, endpoint.consecutive_failures, endpoint.resume_at = None, 0, None
    endpoint.deliveries.filter(state=WebhookDelivery.State.PENDING).update(next_try_at=timezone.now())
    close_alert(rule=Alert.Rule.WEBHOOK_DISABLED, subject=str(endpoint.id))


@transaction.atomic
def rotate_secret(*, endpoint_id: UUID, team_pk: int | None, grace_s: int, actor: str = audit.SYSTEM) -> NewSecret:
    """Replace the secret; for `grace_s` seconds more, events are signed with the old one, too.

    A rotation within another's grace ends that one's: of three secrets the oldest is forgotten.
    Raises WebhookEndpointNotFound.
    """
    endpoint = endpoint_of(endpoint_id, team_pk=team_pk, lock=True)
    secret = signing.new_secret()
    endpoint.previous_secret_encrypted = endpoint.secret_encrypted if grace_s else None
    endpoint.previous_secret_until = timezone.now() + timedelta(seconds=grace_s) if grace_s else None
    endpoint.secret_encrypted = encryption.encrypt(secret.encode())
    endpoint.save()
    _note(endpoint, "webhook.signing_rotated", actor, after={"grace_s": grace_s})
    return NewSecret(endpoint, secret)


@transaction.atomic
def delete_endpoint(*, endpoint_id: UUID, team_pk: int | None, actor: str = audit.SYSTEM) -> None:
    """Delete an endpoint and what is known of its deliveries. Raises WebhookEndpointNotFound."""
    endpoint = endpoint_of(endpoint_id, team_pk=team_pk, lock=True)
    _note(endpoint, "webhook.deleted", actor, before=audit.fields_of(endpoint, AUDITED))
    endpoint.delete()
    close_alert(rule=Alert.Rule.WEBHOOK_DISABLED, subject=str(endpoint_id))


def _checked_types(event_types: Sequence[str]) -> list[str]:
    for event_type in event_types:
        if event_type not in SUBSCRIBABLE:
            raise InvalidInput(f"must be some of {', '.join(sorted(SUBSCRIBABLE))}", field="event_types")
    return list(dict.fromkeys(event_types))
