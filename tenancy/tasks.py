"""Celery tasks of the app; each is one call to a service."""

from uuid import UUID

from celery import shared_task

from tenancy.services import alert_mails, idempotency
from tenancy.services.webhooks import delivery, outbox

#: A task that has waited longer comes too late: the next beat has sent another.
DELIVERY_EXPIRES_S = 5


@shared_task(name="tenancy.purge_idempotency_records")
def purge_idempotency_records() -> None:
    """Forget replies whose time is over."""
    idempotency.purge_expired()


@shared_task(name="tenancy.dispatch_webhooks")
def dispatch_webhooks() -> None:
    """Make the deliveries of new events, and have every endpoint delivered to that something is due for."""
    outbox.dispatch_events()
    for endpoint_id in delivery.endpoints_with_work():
        deliver_webhooks.apply_async([str(endpoint_id)], expires=DELIVERY_EXPIRES_S)


@shared_task(name="tenancy.deliver_webhooks")
def deliver_webhooks(endpoint_id: str) -> None:
    """Send one endpoint what is due. The queue `webhooks` is for workers with many threads."""
    delivery.deliver(endpoint_id=UUID(endpoint_id))


@shared_task(name="tenancy.purge_webhook_events")
def purge_webhook_events() -> None:
    """Forget events whose time is over."""
    outbox.purge_events()


@shared_task(name="tenancy.send_alert_mails")
def send_alert_mails() -> None:
    """Send the mails about alerts. On the queue `webhooks`, because mail servers are other people's, too."""
    alert_mails.send_due_mails()
