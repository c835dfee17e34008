"""Celery tasks of the app; each is one call to a service."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from celery import shared_task

from config.foundation.failpoints import failpoint
from jobs.callpath import idempotency, stored
from jobs.callpath.limits.sweeping import settle_lost, settle_unheard
from jobs.services import alerts, books, calls, erasure, jobs, old_users, rollups

if TYPE_CHECKING:
    from jobs.callpath.runner import Runner


@shared_task(name="jobs.run_call")
async def run_call(runner: "Runner", **call: Any) -> None:
    """Run one LLM call. The queue `calls` is for workers with `jobs.callpath.pool`, which hands the runner in."""
    await runner.run(**call)


@shared_task(name="jobs.check_model")
async def check_model(runner: "Runner", *, check_id: str) -> None:
    """Send a test call to a model; on the queue `calls`, whose workers can ask models."""
    # Here, not above: it imports litellm, which takes seconds.
    from jobs.callpath.checks import run_check

    await run_check(UUID(check_id))


@shared_task(name="jobs.sweep_calls")
def sweep_calls() -> None:
    """End calls whose worker died or whose deadline has passed, hand over again what no worker has taken."""
    lost = calls.sweep_lost_calls()
    failpoint("sweeper.calls_swept")
    settle_lost(lost)
    settle_unheard()
    idempotency.give_back_abandoned()
    jobs.end_jobs_with_their_calls()
    failpoint("sweeper.jobs_ended")
    stored.hand_over_waiting_calls()


@shared_task(name="jobs.erase_contents")
def erase_contents() -> None:
    """Erase prompts and answers whose time is over."""
    calls.erase_contents()


@shared_task(name="jobs.erase_users")
def erase_users() -> None:
    """Go on with the users who are being erased."""
    erasure.erase_users()


@shared_task(name="jobs.give_jobs_their_users")
def give_jobs_their_users() -> None:
    """Give jobs that were written before there were users theirs."""
    old_users.give_jobs_their_users()


@shared_task(name="jobs.sweep_jobs")
def sweep_jobs() -> None:
    """Fail jobs past their time-to-live and release their holds."""
    failpoint("sweeper.expiring")
    jobs.expire_jobs()


@shared_task(name="jobs.verify_ledger")
def verify_ledger(actor: str = "beat") -> None:
    """Prove the books, nightly."""
    books.verify_books(actor=actor)


@shared_task(name="jobs.evaluate_alerts")
def evaluate_alerts() -> None:
    """Open and close alerts about credits, jobs and models."""
    alerts.evaluate_alerts()


@shared_task(name="jobs.evaluate_margins")
def evaluate_margins() -> None:
    """Open and close alerts about margins."""
    alerts.evaluate_margins()


@shared_task(name="jobs.refresh_rollups")
def refresh_rollups() -> None:
    """Sum up today, and earlier days that have changed."""
    rollups.refresh_rollups()
