"""Celery tasks of the app; each is one call to a service."""

from typing import TYPE_CHECKING, Any

from celery import shared_task

from jobs.services import calls, jobs

if TYPE_CHECKING:
    from jobs.callpath.runner import Runner


@shared_task(name="jobs.run_call")
async def run_call(runner: "Runner", **call: Any) -> None:
    """Run one LLM call. The queue `calls` is for workers with `jobs.callpath.pool`, which hands the runner in."""
    await runner.run(**call)


@shared_task(name="jobs.sweep_calls")
def sweep_calls() -> None:
    """Fail calls whose worker died or whose deadline has passed."""
    calls.sweep_lost_calls()


@shared_task(name="jobs.sweep_jobs")
def sweep_jobs() -> None:
    """Fail jobs past their time-to-live and release their holds."""
    jobs.expire_jobs()
