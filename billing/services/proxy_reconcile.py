"""Comparing everything at LiteLLM Proxy with what it should be, and repairing it, whoever changed it.

A look at the proxy's lists finds the suspects, in a request per hundred teams or keys. Each of them is then compared
afresh, and brought in step, by the synchronizer: under its lease, so that a change of ours that is just being made is
not mistaken for somebody else's.
"""

import logging
from collections import defaultdict
from dataclasses import dataclass, field, replace

from django.conf import settings

from billing.models import ProxyTeam
from billing.proxy.desired import desired_team
from billing.proxy.plan import Change, Difference, Kind, plan
from billing.services import proxy_drift
from billing.services.proxy_sync import open_proxy, sync_teams
from modelgroups.gateway.proxy_admin import ProxyAdmin, ProxyKeyState, ProxyTeamState
from modelgroups.gateway.proxy_errors import ProxyError

logger = logging.getLogger(__name__)


#: Sweeps wait for the same process.
RUN_S = 15.0


@dataclass(frozen=True)
class TeamDifference:
    """A team that is not as it should be."""

    team_pk: int
    team_id: str
    is_due: bool
    changes: list[Change]


@dataclass
class Comparison:
    """All that differs. Orphans carry our mark at the proxy, and belong to nothing here."""

    teams: list[TeamDifference] = field(default_factory=list)
    orphan_teams: list[ProxyTeamState] = field(default_factory=list)
    orphan_keys: list[ProxyKeyState] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do or to tell."""
        return not (self.teams or self.orphan_teams or self.orphan_keys)


@dataclass(frozen=True)
class Repair:
    """What a pass has done: differences found, and errors that kept it from repairing some."""

    repaired: int
    reported: int
    errors: list[Exception]


def compare() -> Comparison:
    """What differs, without changing anything. Raises ProxyError."""
    with open_proxy() as admin:
        actual = {team.team_id: team for team in admin.all_teams()}
        keys = _keys_by_team(admin)
    comparison = Comparison()
    known: set[str] = set()
    for row in ProxyTeam.objects.select_related("team__organization").order_by("team_id").iterator(chunk_size=500):
        known.add(row.team.team_id)
        desired = desired_team(row)
        state = actual.get(desired.team_id)
        changes = plan(desired, state and replace(state, keys=tuple(keys.get(desired.team_id, ()))))
        if changes:
            comparison.teams.append(TeamDifference(row.pk, desired.team_id, not row.is_in_step, changes))
    owner = settings.LITELLM_PROXY_OWNER
    comparison.orphan_teams = [team for name, team in actual.items() if name not in known and team.owner == owner]
    comparison.orphan_keys = [
        key for name, found in keys.items() if name not in known for key in found if key.owner == owner
    ]
    return comparison


def reconcile(*, within_s: float = RUN_S) -> Repair:
    """Compare, and repair what can be. Where the proxy is away, nothing happens: the next pass is never far.

    After `within_s` seconds the rest is left to the synchronizer, which has the suspects on its list.
    """
    try:
        comparison = compare()
        suspects = {team.team_pk for team in comparison.teams} | proxy_drift.teams_with_open_drift()
        outcomes = sync_teams(sorted(suspects), within_s=within_s)
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        orphans = _repair_orphans(comparison)
    except ProxyError as error:
        logger.warning("the proxy could not be compared: %s", error)
        return Repair(0, 0, [error])
    proxy_drift.purge()
    repaired = sum(len(outcome.done) for outcome in outcomes) + orphans
    return Repair(repaired, sum(len(outcome.reported) for outcome in outcomes), errors)


def _repair_orphans(comparison: Comparison) -> int:
    """Keys go. A team is only blocked, and told of: it may be one that a restored backup has forgotten."""
    with open_proxy() as admin:
        for key in comparison.orphan_keys:
            admin.delete_key(key.key_hash)
            difference = Difference(Kind.KEY_ORPHAN, key.key_hash, was=key.alias)
            proxy_drift.record_orphan(team_id=key.team_id, difference=difference, is_repaired=True)
        for team in comparison.orphan_teams:
            if not team.is_blocked:
                admin.update_team(team, is_blocked=True)
            difference = Difference(Kind.TEAM_ORPHAN, was="blocked" if team.is_blocked else "active", wanted="none")
            proxy_drift.record_orphan(team_id=team.team_id, difference=difference, is_repaired=False)
    proxy_drift.resolve_orphans(except_team_ids=[team.team_id for team in comparison.orphan_teams])
    return len(comparison.orphan_keys) + sum(not team.is_blocked for team in comparison.orphan_teams)


def _keys_by_team(admin: ProxyAdmin) -> dict[str, list[ProxyKeyState]]:
    keys: dict[str, list[ProxyKeyState]] = defaultdict(list)
    for key in admin.all_keys():
        keys[key.team_id].append(key)
    return keys
