"""A team's users over HTTP: the team's own key manages them, because the integrating app knows who they are."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from config.foundation.api.paging import read_page
from config.foundation.errors import InvalidInput
from config.foundation.limits import check_client_id
from jobs.api import presenters
from jobs.api.user_serializers import TeamUserIn, TeamUserListOut, TeamUserOut, TeamUserUsageOut
from jobs.api.views import PERIOD_PARAMETER
from jobs.queries import usage
from jobs.services.erasure import request_erasure
from tenancy.api.base import ApiView
from tenancy.api.permissions import AnyKey, actor_of, principal_of
from tenancy.models import TeamUser, UserLimit
from tenancy.queries import tenants, users
from tenancy.queries.principals import TeamRef
from tenancy.services.users import change_user

_KINDS = {
    "credits_per_month": UserLimit.Kind.CREDITS,
    "direct_cost_usd_per_month": UserLimit.Kind.DIRECT_COST,
}


def _team(request: Request, team_id: str, *, scope: str) -> TeamRef:
    return tenants.team_for(principal_of(request), check_client_id(team_id, field="team_id"), scope=scope)


class TeamUsersView(ApiView):
    """GET /api/teams/{team_id}/users"""

    permission_classes = [AnyKey]

    @extend_schema(
        operation_id="list_team_users",
        responses=TeamUserListOut,
        parameters=[OpenApiParameter("status", str, enum=TeamUser.Status.values)],
    )
    def get(self, request: Request, team_id: str) -> Response:
        """List a team's users, those first seen last first."""
        team = _team(request, team_id, scope=self.read_scope)
        page = read_page(request, default_limit=100)
        status = request.GET.get("status")
        if status is not None and status not in TeamUser.Status.values:
            raise InvalidInput(f"must be one of {', '.join(TeamUser.Status.values)}", field="status")
        found = users.users_of_team(team_pk=team.pk, status=status)
        total = found.count()
        rows = found[page.offset : page.offset + page.limit]
        body = {
            "team_id": team.team_id,
            "total_users": total,
            "users": [presenters.user_body(user) for user in rows],
        }
        return Response(body, headers=page.links(request, total))


class TeamUserView(ApiView):
    """/api/teams/{team_id}/users/{user_id}"""

    permission_classes = [AnyKey]

    @extend_schema(operation_id="get_team_user", responses=TeamUserOut)
    def get(self, request: Request, team_id: str, user_id: str) -> Response:
        """Get a user."""
        team = _team(request, team_id, scope=self.read_scope)
        return Response(presenters.user_body(users.get_user(team_pk=team.pk, user_id=user_id)))

    @extend_schema(operation_id="change_team_user", request=TeamUserIn, responses=TeamUserOut)
    def patch(self, request: Request, team_id: str, user_id: str) -> Response:
        """Block a user, or limit what he may use."""
        team = _team(request, team_id, scope=self.write_scope)
        data = TeamUserIn(data=request.data)
        data.is_valid(raise_exception=True)
        fields: dict[str, Any] = data.validated_data
        user = change_user(
            user_pk=users.get_user(team_pk=team.pk, user_id=user_id).pk,
            status=fields.get("status"),
            limits={_KINDS[name].value: amount for name, amount in fields.get("limits", {}).items()},
            actor=actor_of(request),
            reason=fields["reason"],
        )
        return Response(presenters.user_body(user))

    @extend_schema(operation_id="erase_team_user", request=None, responses={202: TeamUserOut})
    def delete(self, request: Request, team_id: str, user_id: str) -> Response:
        """Erase a user: his name at once, all that is stored of him in the background. The books stay as they are."""
        team = _team(request, team_id, scope=self.write_scope)
        named = users.get_user(team_pk=team.pk, user_id=user_id)
        user = request_erasure(user_pk=named.pk, actor=actor_of(request))
        return Response(presenters.user_body(user), status=202)


class TeamUserUsageView(ApiView):
    """GET /api/teams/{team_id}/users/{user_id}/usage"""

    permission_classes = [AnyKey]

    @extend_schema(operation_id="get_team_user_usage", responses=TeamUserUsageOut, parameters=[PERIOD_PARAMETER])
    def get(self, request: Request, team_id: str, user_id: str) -> Response:
        """What a user used in a period: the jobs created in it, his calls in jobs, and direct ones."""
        team = _team(request, team_id, scope=self.read_scope)
        period = usage.parse_period(request.GET.get("period"), now=timezone.now())
        user = users.get_user(team_pk=team.pk, user_id=user_id)
        used = usage.user_usage(user_pk=user.pk, period=period)
        body = {
            "team_id": team.team_id,
            "user_id": user.user_id,
            "period": period.name,
            "total_calls": used.calls,
            "summary": presenters.usage_summary(used.usage),
            "job_types": presenters.job_types_body(used.usage.job_types),
            "direct": presenters.direct_body(used.usage.direct),
            "allowances": presenters.allowances_body(users.allowances_of(user)),
        }
        return Response(body)
