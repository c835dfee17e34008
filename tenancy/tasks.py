"""Celery tasks of the app; each is one call to a service."""

from celery import shared_task

from tenancy.services import idempotency


@shared_task(name="tenancy.purge_idempotency_records")
def purge_idempotency_records() -> None:
    """Forget replies whose time is over."""
    idempotency.purge_expired()
