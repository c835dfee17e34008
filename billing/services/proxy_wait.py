"""Waiting for the proxy to be in step with a team, for those who are in a hurry; it speaks to the database only."""

import logging
import time
from dataclasses import dataclass
from functools import partial

from celery import current_app
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError

from billing.models import ProxyTeam

logger = logging.getLogger(__name__)

SYNC_TASK = "billing.sync_proxy"
LOOK_EVERY_S = 0.05
PROVISIONING = "provisioning"


@dataclass(frozen=True)
class Step:
    """Where the proxy stands with a team: has it ever been in step, is it now, and has a try failed since?"""

    was_ever: bool
    is_now: bool
    has_failed: bool


def nudge() -> None:
    """Have marked teams brought in step once the running transaction has committed, instead of within a second."""
    if settings.LITELLM_PROXY_URL:
        transaction.on_commit(partial(_send, SYNC_TASK))


def wait_for_team(team_id: str) -> bool:
    """Whether the proxy is in step with the team, for which it waits PROXY_WAIT_S at most; True without a proxy.

    Not longer than to the first try that fails: the next one would come too late. Must not run in a transaction.
    """
    if not settings.LITELLM_PROXY_URL:
        return True
    ends = time.monotonic() + settings.PROXY_WAIT_S
    while True:
        step = step_of(team_id)
        if step.is_now or step.has_failed or time.monotonic() > ends:
            return step.is_now
        time.sleep(LOOK_EVERY_S)


def step_of(team_id: str) -> Step:
    """In one query."""
    columns = ("synced_at", "wanted_version", "synced_version", "failures")
    row = ProxyTeam.objects.only(*columns).get(team__team_id=team_id)
    return Step(row.synced_at is not None, row.is_in_step, row.failures > 0)


def _send(task: str) -> None:
    try:
        current_app.send_task(task, ignore_result=True, retry=False)
    except OperationalError as error:
        logger.warning("the broker is away, so beat has to do: %s", error)
