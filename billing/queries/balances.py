"""Reads of balances and ledgers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from django.conf import settings
from django.db.models import QuerySet

from billing.models import CreditAccount, LedgerEntry, ProxyTeam, TeamBudget
from modelgroups.queries import allowed_models, group_names_by_team
from tenancy.models import Team


@dataclass(frozen=True)
class TeamOverview:
    """A team with its credits and groups, as `GET /api/teams/{team_id}` shows it."""

    team: Team
    account: CreditAccount
    model_groups: list[str]
    allowed_models: list[str] | None = None
    is_provisioning: bool = False

    @property
    def status(self) -> str:
        """The team's own, or "provisioning" until its keys work at LiteLLM Proxy for the first time."""
        return "provisioning" if self.is_provisioning and self.team.status == Team.Status.ACTIVE else self.team.status


def account_of(team_pk: int) -> CreditAccount:
    """A team's account; every team has one."""
    return CreditAccount.objects.get(pk=team_pk)


def entries_of(team_pk: int) -> QuerySet[LedgerEntry]:
    """A team's ledger, newest first."""
    return LedgerEntry.objects.filter(account_id=team_pk).order_by("-sequence")


def budget_usd(account: CreditAccount) -> Decimal:
    """What the team may spend at providers: credits allocated × the price of one (contract, "Money")."""
    return account.allocated * Decimal(settings.CREDIT_PRICE_USD)


@dataclass(frozen=True)
class Budget:
    """What a team may spend at providers, and what it has: all in USD."""

    limit_usd: Decimal
    spent_usd: Decimal
    reserved_usd: Decimal

    @property
    def remaining_usd(self) -> Decimal:
        """What further calls may be estimated at. Below zero where calls have cost more than they were estimated at."""
        return self.limit_usd - self.spent_usd - self.reserved_usd


def budget_of(team_pk: int) -> Budget:
    """A team's budget as it is now."""
    row = TeamBudget.objects.select_related("team__credit_account").get(pk=team_pk)
    return Budget(budget_usd(row.team.credit_account), row.spent_usd, row.reserved_usd)


def overview(team: Team) -> TeamOverview:
    """One team, with the models that its groups allow."""
    (found,) = overviews([team])
    return replace(found, allowed_models=allowed_models(team.pk))


def overviews(teams: Iterable[Team]) -> list[TeamOverview]:
    """Several teams, in a fixed number of queries."""
    teams = list(teams)
    accounts = CreditAccount.objects.in_bulk([team.pk for team in teams])
    names = group_names_by_team([team.pk for team in teams])
    new = _provisioning([team.pk for team in teams])
    return [TeamOverview(team, accounts[team.pk], names[team.pk], is_provisioning=team.pk in new) for team in teams]


def _provisioning(team_pks: list[int]) -> set[int]:
    """Those that LiteLLM Proxy, where there is one, has never been in step with."""
    if not settings.LITELLM_PROXY_URL:
        return set()
    return set(ProxyTeam.objects.filter(team_id__in=team_pks, synced_at=None).values_list("team_id", flat=True))


def teams_of_organization(organization_pk: int) -> QuerySet[Team]:
    """An organization's teams, newest first."""
    return (
        Team.objects.filter(organization_id=organization_pk)
        .select_related("organization")
        .order_by("-created_at", "-id")
    )
