"""Celery tasks of the app; each is one call to a service."""

from celery import shared_task

from billing.services import expiry, refill_policies


@shared_task(name="billing.expire_credits")
def expire_credits() -> None:
    """Write off credits whose time is over."""
    expiry.expire_credits(actor="beat")


@shared_task(name="billing.run_refill_policies")
def run_refill_policies() -> None:
    """Carry out the refills that are due."""
    refill_policies.run_refill_policies()
