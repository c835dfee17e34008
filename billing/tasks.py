"""Celery tasks of the app; each is one call to a service."""

from celery import shared_task

from billing.services import expiry


@shared_task(name="billing.expire_credits")
def expire_credits() -> None:
    """Write off credits whose time is over."""
    expiry.expire_credits(actor="beat")
