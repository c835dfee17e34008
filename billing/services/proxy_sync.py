"""Bringing LiteLLM Proxy in step with the teams that were marked.

A team is claimed for a while (a lease), the proxy is brought there with no transaction open, and what came of it is
written down if the lease still holds. So any number of workers may do this, one that dies is followed by another, and
a change that is made meanwhile raises the version, and with it the team's turn comes again.
"""

import logging
import random
import time
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import timedelta
from threading import Event
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from billing.models import ProxyTeam
from billing.proxy.converge import Convergence, converge
from billing.proxy.desired import DesiredTeam, desired_team
from billing.services import proxy_drift
from config.foundation import encryption
from config.foundation.failpoints import failpoint
from modelgroups.gateway.proxy_admin import ProxyAdmin
from modelgroups.gateway.proxy_errors import ProxyUnavailable
from tenancy.models import VirtualKey
from tenancy.services.keys import new_key_text

logger = logging.getLogger(__name__)

#: Teams that are brought in step side by side. The proxy serves some 50 requests per second with one worker.
THREADS = 4
BATCH = 8
#: How long a worker has a team to itself. Before its end it stops, so that it never undoes what the next one does.
LEASE_S = 20.0
#: One task ends after so long, in the middle of a large backlog, so that sweeps get their turn; the next is due soon.
RUN_S = 4.0
FIRST_PAUSE_S = 0.5
UNAVAILABLE = "ProxyUnavailable"


@dataclass(frozen=True)
class Claim:
    """A team whose turn it is. `was_in_step`: no change of ours is due, so what differs is the proxy's doing."""

    lease: uuid.UUID
    version: int
    was_in_step: bool
    failures: int
    desired: DesiredTeam


def open_proxy() -> ProxyAdmin:
    """The configured proxy."""
    return ProxyAdmin(
        url=settings.LITELLM_PROXY_URL,
        master_key=settings.LITELLM_MASTER_KEY,
        owner=settings.LITELLM_PROXY_OWNER,
        timeout_s=settings.PROXY_TIMEOUT_S,
    )


def sync_due_teams() -> int:
    """Bring all teams in step whose turn it is, for RUN_S at most; returns for how many that succeeded."""
    _mark_expired()
    ends = time.monotonic() + RUN_S
    synced = 0
    due = Q(wanted_version__gt=F("synced_version")) | Q(is_suspect=True)
    with open_proxy() as admin:
        while time.monotonic() < ends:
            outcomes = _sync(admin, _claim(due & Q(next_try_at__lte=Now())))
            succeeded = sum(outcome.error is None for outcome in outcomes)
            synced += succeeded
            if succeeded:
                _wake_those_who_wait_for_the_proxy()
            # Where the proxy is away, the teams that are left would only fail one after the other.
            if not outcomes or any(isinstance(outcome.error, ProxyUnavailable) for outcome in outcomes):
                return synced
    return synced


def sync_teams(team_pks: Sequence[int], *, within_s: float) -> list[Convergence]:
    """Bring these teams in step now, whether or not anything is due, unless another worker is at it.

    What is not reached in time is left to `sync_due_teams`.
    """
    ProxyTeam.objects.filter(pk__in=team_pks).update(is_suspect=True)
    ends = time.monotonic() + within_s
    outcomes = []
    with open_proxy() as admin:
        for start in range(0, len(team_pks), BATCH):
            if time.monotonic() < ends:
                outcomes += _sync(admin, _claim(Q(team_id__in=team_pks[start : start + BATCH])))
    return outcomes


def _mark_expired() -> None:
    """A key whose grace has ended is a change that no transaction of ours makes."""
    _update_free(Q(due_at__lte=Now()), wanted_version=F("wanted_version") + 1, due_at=None)


@transaction.atomic
def _update_free(which: Q, **changes: Any) -> None:
    """Of these rows, those that nobody has locked: several at once must not deadlock with a change of several teams."""
    free = ProxyTeam.objects.select_for_update(skip_locked=True, no_key=True).filter(which).values("pk")
    ProxyTeam.objects.filter(pk__in=list(free.values_list("pk", flat=True))).update(**changes)


def _claim(which: Q) -> list[Claim]:
    """Take a batch of teams. The version is read before what it stands for: then it is never ahead of it."""
    lease, now = uuid.uuid4(), timezone.now()
    free = Q(lease=None) | Q(leased_until__lt=Now())
    with transaction.atomic():
        rows = list(
            ProxyTeam.objects.select_for_update(skip_locked=True, of=("self",), no_key=True)
            .filter(which, free)
            .select_related("team__organization")
            .order_by("next_try_at", "team_id")[:BATCH]
        )
        for row in rows:
            row.lease, row.leased_until = lease, now + timedelta(seconds=LEASE_S)
            if not _is_readable(row.platform_key_encrypted):
                row.platform_key_encrypted = encryption.encrypt(new_key_text().encode())
        ProxyTeam.objects.bulk_update(rows, ["lease", "leased_until", "platform_key_encrypted"])
    failpoint("proxy.claimed")
    return [Claim(lease, row.wanted_version, row.is_in_step, row.failures, desired_team(row)) for row in rows]


def _is_readable(secret: bytes | memoryview | None) -> bool:
    """A key of ours that nobody can decrypt any more is replaced, and goes at the proxy as an orphan."""
    try:
        return secret is not None and bool(encryption.decrypt(bytes(secret)))
    except encryption.CannotDecrypt:
        return False


def _sync(admin: ProxyAdmin, claims: Iterable[Claim]) -> list[Convergence]:
    """Threads make the requests; the database is this thread's."""
    is_away = Event()
    ends = time.monotonic() + LEASE_S - 2 * settings.PROXY_TIMEOUT_S

    def may_go_on() -> bool:
        if is_away.is_set():
            raise ProxyUnavailable("it was away a moment ago")
        return time.monotonic() < ends

    outcomes = []
    with ThreadPoolExecutor(THREADS) as threads:
        running = {threads.submit(converge, admin, claim.desired, may_go_on=may_go_on): claim for claim in claims}
        for future in as_completed(running):
            outcome = future.result()
            if isinstance(outcome.error, ProxyUnavailable):
                # The others shall not wait for their timeouts, too.
                if not is_away.is_set():
                    logger.warning("the proxy is away: %s", outcome.error)
                is_away.set()
            _finish(running[future], outcome)
            outcomes.append(outcome)
    return outcomes


@transaction.atomic
def _finish(claim: Claim, outcome: Convergence) -> None:
    """Write down what came of it, if nobody else has the team by now."""
    mine = ProxyTeam.objects.filter(team_id=claim.desired.team_pk, lease=claim.lease)
    failpoint("proxy.converged")
    if outcome.error is None:
        expiries = [key.expires_at for key in claim.desired.keys if key.expires_at is not None]
        kept = mine.update(
            synced_version=claim.version,
            synced_at=Now(),
            is_suspect=False,
            failures=0,
            last_error="",
            next_try_at=Now(),
            due_at=min(expiries, default=None),
            lease=None,
        )
        if kept:
            _wipe_retired(claim.desired)
    else:
        # An absence is told of once, by `_sync`, and not for every team that waits.
        level = logging.DEBUG if isinstance(outcome.error, ProxyUnavailable) else logging.WARNING
        logger.log(level, "team %s is not in step with the proxy: %s", claim.desired.team_id, outcome.error)
        kept = mine.update(
            failures=F("failures") + 1,
            last_error=f"{type(outcome.error).__name__}: {outcome.error}"[:1000],
            next_try_at=timezone.now() + _pause(claim.failures),
            lease=None,
        )
    if not kept:
        # It took longer than the lease, so another worker may have been at it in between: whose turn is it now?
        ProxyTeam.objects.filter(team_id=claim.desired.team_pk).update(wanted_version=F("wanted_version") + 1)
    proxy_drift.record(claim.desired, outcome, was_in_step=claim.was_in_step)


def _pause(failures: int) -> timedelta:
    """Twice as long each time; half of it is random, so that teams do not come in waves."""
    longest_s = min(FIRST_PAUSE_S * 2 ** min(failures, 16), settings.PROXY_MAX_BACKOFF_S)
    return timedelta(seconds=longest_s * random.uniform(0.5, 1))  # noqa: S311 (no secret)


def _wipe_retired(desired: DesiredTeam) -> None:
    """The proxy has forgotten these keys, so their text goes; not that of expired ones, which may be prolonged."""
    keys = VirtualKey.objects.filter(id__in=desired.retired_ids).exclude(secret_encrypted=None)
    keys.filter(~Q(revoked_at=None) | ~Q(replaced_by=None)).update(secret_encrypted=None)


def _wake_those_who_wait_for_the_proxy() -> None:
    """It answers again, so there is no reason to wait on."""
    waiting = Q(failures__gt=0, last_error__startswith=UNAVAILABLE, next_try_at__gt=Now())
    _update_free(waiting, next_try_at=Now())
