"""Keeping account of where the proxy was found to differ, which nobody may have noticed otherwise."""

import logging
from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from billing.models import ProxyDrift
from billing.proxy.converge import Convergence
from billing.proxy.desired import DesiredTeam
from billing.proxy.plan import Difference

logger = logging.getLogger(__name__)

#: What was resolved longer ago is forgotten.
KEPT = timedelta(days=90)


def record(desired: DesiredTeam, outcome: Convergence, *, was_in_step: bool) -> None:
    """Put on record what a comparison of a team has found.

    Where a change of ours was due, what was done is that change, and no drift. What only a person can repair is told
    of in any case, until it is gone.
    """
    if outcome.error is not None:
        return
    repaired = outcome.done if was_in_step else []
    for difference in repaired:
        logger.warning(
            "repaired at the proxy: team %s, %s %s was %r",
            desired.team_id,
            difference.kind,
            difference.subject,
            difference.was,
        )
    _see(repaired, team_pk=desired.team_pk, team_id=desired.team_id, is_repaired=True)
    _see(outcome.reported, team_pk=desired.team_pk, team_id=desired.team_id, is_repaired=False)
    still = Q()
    for difference in outcome.reported:
        still |= Q(kind=difference.kind, subject=difference.subject)
    gone = ProxyDrift.objects.filter(team_id=desired.team_pk, resolved_at=None)
    (gone.exclude(still) if outcome.reported else gone).update(resolved_at=timezone.now())


def record_orphan(*, team_id: str, difference: Difference, is_repaired: bool) -> None:
    """Put on record what is at the proxy and belongs to no team of ours."""
    logger.warning("found at the proxy: %s %s of team %r", difference.kind, difference.subject, team_id)
    _see([difference], team_pk=None, team_id=team_id, is_repaired=is_repaired)


def resolve_orphans(*, except_team_ids: Iterable[str]) -> None:
    """Orphans that are there no more."""
    orphans = ProxyDrift.objects.filter(team=None, resolved_at=None)
    orphans.exclude(proxy_team_id__in=list(except_team_ids)).update(resolved_at=timezone.now())


def teams_with_open_drift() -> set[int]:
    """They have to be looked at again, because what was wrong may be gone by now."""
    found = ProxyDrift.objects.filter(resolved_at=None).exclude(team=None)
    return set(found.values_list("team_id", flat=True))


def purge() -> int:
    """Forget what was resolved long ago; returns how many findings that were."""
    return ProxyDrift.objects.filter(resolved_at__lt=timezone.now() - KEPT).delete()[0]


def _see(differences: Iterable[Difference], *, team_pk: int | None, team_id: str, is_repaired: bool) -> None:
    now = timezone.now()
    ProxyDrift.objects.bulk_create(
        [
            ProxyDrift(
                team_id=team_pk,
                proxy_team_id=team_id,
                kind=difference.kind,
                subject=difference.subject,
                was=difference.was,
                wanted=difference.wanted,
                last_seen_at=now,
                resolved_at=now if is_repaired else None,
            )
            for difference in differences
            if is_repaired or not _seen_again(difference, team_id)
        ]
    )


def _seen_again(difference: Difference, team_id: str) -> bool:
    """Whether it is open already; then it is only seen again."""
    found = ProxyDrift.objects.filter(
        proxy_team_id=team_id, kind=difference.kind, subject=difference.subject, resolved_at=None
    )
    return bool(found.update(last_seen_at=timezone.now()))
