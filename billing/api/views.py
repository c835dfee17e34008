"""Teams and credits over HTTP."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.serializers import (
    CREATED,
    CREATED_AHEAD,
    AddCreditsIn,
    BalanceOut,
    CheckCreditsIn,
    CheckCreditsOut,
    CreditsAddedOut,
    CreditsOut,
    NewTeamOut,
    OrganizationTeamsOut,
    TeamDetailOut,
    TeamIn,
    TeamOut,
    TransactionListOut,
    TransactionOut,
)
from billing.ledger import GrantTerms
from billing.models import LedgerEntry
from billing.queries import balances
from billing.services import credits as credit_services
from billing.services import teams
from billing.services.proxy_wait import PROVISIONING, wait_for_team
from config.foundation.api.paging import read_page
from config.foundation.limits import check_client_id
from tenancy.api.base import ApiView
from tenancy.api.idempotency import idempotent
from tenancy.api.permissions import AnyKey, principal_of
from tenancy.queries import tenants
from tenancy.queries.principals import TeamRef


class TeamCreateView(ApiView):
    """POST /api/teams/create"""

    open_methods = frozenset({"POST"})

    @extend_schema(operation_id="create_team", request=TeamIn, responses=NewTeamOut)
    def post(self, request: Request) -> Response:
        """Create a team with credits, model groups and its first virtual key, shown this once."""
        response = self._create(request)
        # After the commit, because a worker has to see the team; a replayed answer shows how things stand now.
        if response.data["status"] == PROVISIONING:
            is_ready = wait_for_team(response.data["team_id"])
            response.data |= {"status": "active", "message": CREATED} if is_ready else {"message": CREATED_AHEAD}
        return response

    @idempotent
    def _create(self, request: Request) -> Response:
        data = TeamIn(data=request.data)
        data.is_valid(raise_exception=True)
        opened = teams.open_team(**data.validated_data, actor=principal_of(request).idempotency_scope)
        return Response(NewTeamOut(opened).data)


class TeamView(ApiView):
    """GET /api/teams/{team_id}"""

    permission_classes = [AnyKey]
    open_methods = frozenset({"GET"})

    @extend_schema(operation_id="get_team", responses=TeamDetailOut)
    def get(self, request: Request, team_id: str) -> Response:
        """Get a team with its credits and model groups."""
        check_client_id(team_id, field="team_id")
        principal_of(request).require_team(team_id, scope="read")
        return Response(TeamDetailOut(balances.overview(tenants.get_team(team_id))).data)


class OrganizationTeamsView(ApiView):
    """GET /api/organizations/{organization_id}/teams"""

    open_methods = frozenset({"GET"})

    @extend_schema(operation_id="list_organization_teams", responses=OrganizationTeamsOut)
    def get(self, request: Request, organization_id: str) -> Response:
        """List an organization's teams, newest first."""
        organization = tenants.get_organization(check_client_id(organization_id, field="organization_id"))
        page = read_page(request, default_limit=100)
        found = balances.teams_of_organization(organization.pk)
        total = found.count()
        rows = balances.overviews(found[page.offset : page.offset + page.limit])
        body = {
            "organization_id": organization.organization_id,
            "total_teams": total,
            "teams": TeamOut(rows, many=True).data,
        }
        return Response(body, headers=page.links(request, total))


class CreditsView(ApiView):
    """The base of the views below /api/credits/teams/{team_id}/: a key of that team, or an operator."""

    permission_classes = [AnyKey]

    def team(self, request: Request, team_id: str) -> TeamRef:
        """The team in the path, if the caller may. Raises WrongTeam, TeamNotFound, and as require_scope."""
        check_client_id(team_id, field="team_id")
        return tenants.team_for(principal_of(request), team_id, scope="read")


class BalanceView(CreditsView):
    """GET /api/credits/teams/{team_id}/balance"""

    @extend_schema(operation_id="get_balance", responses=BalanceOut)
    def get(self, request: Request, team_id: str) -> Response:
        """Get a team's balance."""
        team = self.team(request, team_id)
        account = balances.account_of(team.pk)
        body = {
            "team_id": team.team_id,
            **CreditsOut(account).data,
            "credit_limit": account.credit_limit,
            "auto_refill": account.auto_refill,
            "budget_usd": balances.budget_usd(account),
        }
        return Response(body)


class CheckCreditsView(CreditsView):
    """POST /api/credits/teams/{team_id}/check"""

    @extend_schema(operation_id="check_credits", request=CheckCreditsIn, responses=CheckCreditsOut)
    def post(self, request: Request, team_id: str) -> Response:
        """Ask whether so many credits are available. Only opening a job sets one aside."""
        team = self.team(request, team_id)
        data = CheckCreditsIn(data=request.data)
        data.is_valid(raise_exception=True)
        account = balances.account_of(team.pk)
        body = {
            "available": account.available >= data.validated_data["credits_required"],
            "credits_remaining": account.remaining,
            "credits_available": account.available,
        }
        return Response(body)


class TransactionsView(CreditsView):
    """GET /api/credits/teams/{team_id}/transactions"""

    open_methods = frozenset({"GET"})

    @extend_schema(operation_id="list_transactions", responses=TransactionListOut)
    def get(self, request: Request, team_id: str) -> Response:
        """List a team's ledger entries, newest first."""
        team = self.team(request, team_id)
        page = read_page(request, default_limit=50)
        # Sequences have no gaps, so the last one is the count.
        total = balances.account_of(team.pk).last_sequence
        entries = balances.entries_of(team.pk)[page.offset : page.offset + page.limit]
        body = {
            "team_id": team.team_id,
            "total_transactions": total,
            "transactions": [_transaction(entry, team) for entry in entries],
        }
        return Response(body, headers=page.links(request, total))


class AddCreditsView(ApiView):
    """POST /api/credits/teams/{team_id}/add"""

    write_scope = "credits"

    @extend_schema(operation_id="add_credits", request=AddCreditsIn, responses=CreditsAddedOut)
    @idempotent
    def post(self, request: Request, team_id: str) -> Response:
        """Add credits to a team. Operators only: no team mints its own credits."""
        principal = principal_of(request)
        team = tenants.team_for(principal, check_client_id(team_id, field="team_id"), scope="credits")
        data = AddCreditsIn(data=request.data)
        data.is_valid(raise_exception=True)
        fields = data.validated_data
        change = credit_services.add_credits(
            team_pk=team.pk,
            amount=fields["credits_amount"],
            reason=fields["reason"],
            metadata=fields["metadata"],
            actor=principal.idempotency_scope,
            terms=GrantTerms(fields["kind"], fields["expires_at"], fields["priority"]),
        )
        body = {
            "team_id": team.team_id,
            "credits_added": change.entry.amount,
            **CreditsOut(change.account).data,
            "transaction": _transaction(change.entry, team),
        }
        return Response(body)


def _transaction(entry: LedgerEntry, team: TeamRef) -> dict[str, Any]:
    entry.team_id = team.team_id  # type: ignore[attr-defined]
    return TransactionOut(entry).data
