"""Organizations, teams and keys by the ids that clients know."""

from django.db.models import QuerySet

from tenancy.errors import OrganizationNotFound, TeamNotFound
from tenancy.models import Organization, Team, VirtualKey
from tenancy.queries.principals import Principal, TeamRef


def get_organization(organization_id: str) -> Organization:
    """Raises OrganizationNotFound."""
    try:
        return Organization.objects.get(organization_id=organization_id)
    except Organization.DoesNotExist:
        raise OrganizationNotFound(organization_id) from None


def get_team(team_id: str) -> Team:
    """The team with its organization. Raises TeamNotFound."""
    try:
        return Team.objects.select_related("organization").get(team_id=team_id)
    except Team.DoesNotExist:
        raise TeamNotFound(team_id) from None


def team_for(principal: Principal, team_id: str, *, scope: str) -> TeamRef:
    """The team that the caller names, if it may: no query for the team's own key, one for an operator.

    Raises WrongTeam, OperatorRequired, InsufficientScope, TeamNotFound.
    """
    principal.require_team(team_id, scope=scope)
    if principal.team is not None:
        return principal.team
    team = get_team(team_id)
    return TeamRef(
        pk=team.pk,
        team_id=team.team_id,
        organization_id=team.organization.organization_id,
        is_suspended="suspended" in (team.status, team.organization.status),
        job_ttl_s=team.job_ttl_s,
        max_calls_in_flight=team.max_calls_in_flight,
        requests_per_minute=team.requests_per_minute,
        tokens_per_minute=team.tokens_per_minute,
        user_requests_per_minute=team.user_requests_per_minute,
        user_tokens_per_minute=team.user_tokens_per_minute,
    )


def virtual_keys(*, team_id: str) -> QuerySet[VirtualKey]:
    """A team's keys, newest first, revoked ones included."""
    return VirtualKey.objects.filter(team__team_id=team_id).order_by("-created_at", "-id")
