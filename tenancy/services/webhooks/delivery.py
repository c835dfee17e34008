"""Delivering what is due, one endpoint at a time.

An endpoint has one worker at a time, which holds its lease and sends what is due in the order in which it happened. No
transaction is open while it sends. A worker that dies leaves its lease to run out; what it was sending is then sent
again, under the same message id: at least once. Times are read from Python's clock, never from the database's, so that
they agree with each other.
"""

import json
import logging
import random
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from config.foundation import encryption
from config.foundation.failpoints import failpoint
from tenancy.models import Alert, WebhookDelivery, WebhookEndpoint
from tenancy.services.alerts import Finding, open_alert
from tenancy.services.webhooks import signing
from tenancy.services.webhooks.sending import Connection, Outcome, Problem

logger = logging.getLogger(__name__)

#: Longer than an attempt takes (settings.WEBHOOK_TIMEOUT_S, and before it the DNS).
LEASE_MARGIN_S = 30
#: How long one task goes on with an endpoint that has more and more to be sent.
TURN_S = 20
#: A failing endpoint is left alone for the schedule's first delay, doubled with each failure, but not longer than this.
MAX_PAUSE_S = 300
#: So many failures in a row are an outage: at its end all that waits is sent, whatever its own schedule says.
OUTAGE_FAILURES = 3
USER_AGENT = "job-credits-webhooks/2"


#: What an attempt changes, and nothing that somebody else may have changed meanwhile.
_OF_DELIVERY = ("state", "attempts", "next_try_at", "last_attempt_at", "last_latency_ms", "last_status", "last_problem")
_OF_ENDPOINT = (
    "state",
    "disabled_reason",
    "failing_since",
    "consecutive_failures",
    "resume_at",
    "leased_until",
)


@dataclass(frozen=True)
class Lease:
    """The right to deliver to an endpoint, as it was when it was taken."""

    lease_id: UUID
    endpoint: WebhookEndpoint


def endpoints_with_work(*, limit: int = 1000) -> list[UUID]:
    """Those to which something is due and nobody delivers; where these are too many, any of them."""
    now = timezone.now()
    due = WebhookDelivery.objects.filter(
        endpoint=OuterRef("pk"), state=WebhookDelivery.State.PENDING, next_try_at__lte=now
    )
    return list(_free(now).filter(Exists(due)).order_by("?").values_list("id", flat=True)[:limit])


def deliver(*, endpoint_id: UUID) -> int:
    """Send an endpoint what is due, until it fails or its turn is over; returns how many attempts that were."""
    lease = _take(endpoint_id)
    if lease is None:
        return 0
    attempts, turn_ends = 0, timezone.now() + timedelta(seconds=TURN_S)
    with Connection(lease.endpoint.url) as connection:
        while timezone.now() < turn_ends and (delivery := _next_due(lease)):
            failpoint("webhooks.sending")
            outcome = _send(connection, lease.endpoint, delivery)
            failpoint("webhooks.sent")
            attempts += 1
            if not _record(lease, delivery, outcome) or not outcome.is_success:
                break
    WebhookEndpoint.objects.filter(id=endpoint_id, lease_id=lease.lease_id).update(lease_id=None, leased_until=None)
    return attempts


def _free(now: datetime) -> QuerySet[WebhookEndpoint]:
    is_free = Q(leased_until=None) | Q(leased_until__lte=now)
    is_rested = Q(resume_at=None) | Q(resume_at__lte=now)
    return WebhookEndpoint.objects.filter(is_free, is_rested, state=WebhookEndpoint.State.ACTIVE)


def _take(endpoint_id: UUID) -> Lease | None:
    """Compare and swap: of two workers one gets it."""
    now, lease_id = timezone.now(), uuid.uuid4()
    if not _free(now).filter(id=endpoint_id).update(lease_id=lease_id, leased_until=_lease_end(now)):
        return None
    endpoint = WebhookEndpoint.objects.filter(id=endpoint_id, lease_id=lease_id).first()
    return Lease(lease_id, endpoint) if endpoint else None


def _lease_end(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.WEBHOOK_TIMEOUT_S + LEASE_MARGIN_S)


def _next_due(lease: Lease) -> WebhookDelivery | None:
    due = lease.endpoint.deliveries.filter(state=WebhookDelivery.State.PENDING, next_try_at__lte=timezone.now())
    return due.select_related("event").order_by("event_id").first()


def _send(connection: Connection, endpoint: WebhookEndpoint, delivery: WebhookDelivery) -> Outcome:
    now, event = timezone.now(), delivery.event
    body = json.dumps(event.payload, ensure_ascii=False, separators=(",", ":")).encode()
    try:
        secrets = _secrets(endpoint, now)
    except encryption.CannotDecrypt:
        logger.exception("the secret of webhook endpoint %s cannot be read", endpoint.id)
        return Outcome(None, Problem.SECRET, 0)
    headers = signing.signature_headers(
        message_id=str(event.event_id), timestamp_s=int(now.timestamp()), body=body, signing=secrets
    )
    return connection.post(body, {"content-type": "application/json", "user-agent": USER_AGENT, **headers})


def _secrets(endpoint: WebhookEndpoint, now: datetime) -> list[str]:
    encrypted = [endpoint.secret_encrypted]
    previous = endpoint.previous_secret_encrypted
    if previous is not None and endpoint.previous_secret_until is not None and endpoint.previous_secret_until > now:
        encrypted.append(previous)
    return [encryption.decrypt(bytes(secret)).decode() for secret in encrypted]


@transaction.atomic
def _record(lease: Lease, delivery: WebhookDelivery, outcome: Outcome) -> bool:
    """Write down what came of it, and extend the lease.

    False where the lease was lost, or somebody has changed the endpoint: then this turn ends.
    """
    now = timezone.now()
    endpoint = WebhookEndpoint.objects.select_for_update(no_key=True).filter(id=lease.endpoint.id).first()
    if endpoint is None:
        return False  # Deleted, and the delivery with it.
    is_ours = endpoint.lease_id == lease.lease_id
    if not is_ours and not outcome.is_success:
        return False  # Somebody else tries it by now, and may have succeeded.
    delivery.attempts += 1
    delivery.last_attempt_at, delivery.last_latency_ms = now, outcome.latency_ms
    delivery.last_status, delivery.last_problem = outcome.status, outcome.problem
    if outcome.is_success:
        delivery.state, delivery.next_try_at = WebhookDelivery.State.DELIVERED, None
        _note_success(endpoint, now)
    else:
        _schedule(delivery, now)
        _note_failure(endpoint, outcome, now)
        if endpoint.state == WebhookEndpoint.State.DISABLED:
            _tell_of_disabled(endpoint)
    # Not `save`, which wants the row to be there: with a user that is erased his events go, and their deliveries.
    WebhookDelivery.objects.filter(pk=delivery.pk).update(**{name: getattr(delivery, name) for name in _OF_DELIVERY})
    if is_ours:
        endpoint.leased_until = _lease_end(now)
    endpoint.save(update_fields=_OF_ENDPOINT)
    return is_ours and endpoint.updated_at == lease.endpoint.updated_at


def _schedule(delivery: WebhookDelivery, now: datetime) -> None:
    """When it is tried again: by the schedule, a fifth more or less, so that retries do not come in waves."""
    delays_s = settings.WEBHOOK_RETRY_DELAYS_S
    if delivery.attempts > len(delays_s):
        delivery.state, delivery.next_try_at = WebhookDelivery.State.FAILED, None
        return
    delay_s = delays_s[delivery.attempts - 1] * random.uniform(0.8, 1.2)  # noqa: S311 (no secret)
    delivery.next_try_at = now + timedelta(seconds=delay_s)


def _note_success(endpoint: WebhookEndpoint, now: datetime) -> None:
    if endpoint.consecutive_failures >= OUTAGE_FAILURES:
        endpoint.deliveries.filter(state=WebhookDelivery.State.PENDING, next_try_at__gt=now).update(next_try_at=now)
    endpoint.failing_since, endpoint.consecutive_failures, endpoint.resume_at = None, 0, None


def _note_failure(endpoint: WebhookEndpoint, outcome: Outcome, now: datetime) -> None:
    endpoint.failing_since = endpoint.failing_since or now
    endpoint.consecutive_failures += 1
    pause_s = min(settings.WEBHOOK_RETRY_DELAYS_S[0] * 2 ** min(endpoint.consecutive_failures - 1, 16), MAX_PAUSE_S)
    endpoint.resume_at = now + timedelta(seconds=pause_s)
    if outcome.status == 410:
        endpoint.state, endpoint.disabled_reason = WebhookEndpoint.State.DISABLED, WebhookEndpoint.Reason.GONE
    elif now - endpoint.failing_since >= timedelta(seconds=settings.WEBHOOK_DISABLE_AFTER_S):
        endpoint.state, endpoint.disabled_reason = WebhookEndpoint.State.DISABLED, WebhookEndpoint.Reason.FAILING


def _tell_of_disabled(endpoint: WebhookEndpoint) -> None:
    data = {"url": endpoint.url, "disabled_reason": endpoint.disabled_reason}
    finding = Finding(subject=str(endpoint.id), team_pk=endpoint.team_id, data=data)
    open_alert(rule=Alert.Rule.WEBHOOK_DISABLED, finding=finding, organization=endpoint.organization)
