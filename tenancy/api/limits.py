"""A team's limits over HTTP."""

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from config.foundation.limits import check_client_id
from tenancy.api.base import ApiView
from tenancy.api.permissions import AnyKey, actor_of, principal_of
from tenancy.api.serializers import TeamLimitsIn, TeamLimitsOut
from tenancy.models import Team
from tenancy.queries import tenants
from tenancy.queries.principals import TeamRef
from tenancy.services.limits import set_team_limits


class TeamLimitsView(ApiView):
    """/api/teams/{team_id}/limits"""

    permission_classes = [AnyKey]

    @extend_schema(operation_id="get_team_limits", responses=TeamLimitsOut)
    def get(self, request: Request, team_id: str) -> Response:
        """Get a team's limits: requests and tokens per minute, calls in flight."""
        check_client_id(team_id, field="team_id")
        return _answer(tenants.team_for(principal_of(request), team_id, scope="read"))

    @extend_schema(operation_id="set_team_limits", request=TeamLimitsIn, responses=TeamLimitsOut)
    def patch(self, request: Request, team_id: str) -> Response:
        """Set some of a team's limits; null is the default. Operators only."""
        principal_of(request).require_scope("provision")
        check_client_id(team_id, field="team_id")
        data = TeamLimitsIn(data=request.data)
        data.is_valid(raise_exception=True)
        return _answer(set_team_limits(team_id=team_id, limits=data.validated_data, actor=actor_of(request)))


def _answer(team: Team | TeamRef) -> Response:
    in_flight = team.max_calls_in_flight
    body = {
        "team_id": team.team_id,
        "requests_per_minute": team.requests_per_minute,
        "tokens_per_minute": team.tokens_per_minute,
        "max_calls_in_flight": in_flight,
        "user_requests_per_minute": team.user_requests_per_minute,
        "user_tokens_per_minute": team.user_tokens_per_minute,
        "in_force": {
            "requests_per_minute": team.requests_per_minute or settings.TEAM_REQUESTS_PER_MINUTE or None,
            "tokens_per_minute": team.tokens_per_minute or settings.TEAM_TOKENS_PER_MINUTE or None,
            "max_calls_in_flight": settings.TEAM_CALLS_IN_FLIGHT if in_flight is None else in_flight,
        },
    }
    return Response(TeamLimitsOut(body).data)
