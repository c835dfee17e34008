"""Celery tasks of the app; each is one call to a service. Beat sends the proxy's only where one is configured."""

from celery import shared_task

from billing.services import expiry, proxy_reconcile, proxy_spend, proxy_sync, refill_policies, refill_uploads


@shared_task(name="billing.expire_credits")
def expire_credits() -> None:
    """Write off credits whose time is over."""
    expiry.expire_credits(actor="beat")


@shared_task(name="billing.run_refill_policies")
def run_refill_policies() -> None:
    """Carry out the refills that are due."""
    refill_policies.run_refill_policies()


@shared_task(name="billing.run_refill_uploads")
def run_refill_uploads() -> None:
    """Carry out confirmed uploads, and those that a worker left unfinished."""
    refill_uploads.run_uploads()


@shared_task(name="billing.sync_proxy")
def sync_proxy() -> None:
    """Bring LiteLLM Proxy in step with the teams that were changed."""
    proxy_sync.sync_due_teams()


@shared_task(name="billing.reconcile_proxy")
def reconcile_proxy() -> None:
    """Compare everything at LiteLLM Proxy with what it should be, and repair it."""
    proxy_reconcile.reconcile()


@shared_task(name="billing.read_proxy_spend")
def read_proxy_spend() -> None:
    """Read back what was spent at LiteLLM Proxy."""
    proxy_spend.read_spend()
