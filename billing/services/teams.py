"""Opening a team's account end to end: team, key, groups, credits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from billing import ledger
from billing.queries import balances
from billing.queries.balances import TeamOverview
from billing.services.credits import add_credits
from billing.services.proxy_wait import nudge
from modelgroups.services.groups import assign_groups
from tenancy.services.keys import NewVirtualKey, create_virtual_key
from tenancy.services.organizations import create_team


@dataclass(frozen=True)
class OpenedTeam:
    """A new team, and for the last time its first key."""

    overview: TeamOverview
    key: NewVirtualKey


@transaction.atomic
def open_team(
    *,
    organization_id: str,
    team_id: str,
    team_alias: str,
    model_groups: Sequence[str],
    credits_allocated: int,
    metadata: dict[str, Any],
    actor: str,
) -> OpenedTeam:
    """Everything or nothing. `credits_allocated` ≥ 0 whole credits are the account's first ledger entry.

    Raises OrganizationNotFound, TeamExists, ModelGroupNotFound.
    """
    team = create_team(
        organization_id=organization_id, team_id=team_id, team_alias=team_alias, metadata=metadata, actor=actor
    )
    ledger.open_account(team_pk=team.pk)
    if credits_allocated:
        add_credits(team_pk=team.pk, amount=credits_allocated, reason="Initial allocation", metadata={}, actor=actor)
    assign_groups(team_pk=team.pk, group_names=model_groups, actor=actor)
    key = create_virtual_key(team=team, name="first key", actor=actor)
    nudge()
    return OpenedTeam(balances.overview(team), key)
