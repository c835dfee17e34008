"""Refill policies over HTTP."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.models import RefillPolicy
from billing.queries.refills import policy_of
from billing.services import refill_policies
from config.foundation.api.fields import CreditsField, TrueOrFalseField
from config.foundation.limits import check_client_id
from tenancy.api.base import ApiView
from tenancy.api.permissions import AnyKey, actor_of, principal_of
from tenancy.queries import tenants
from tenancy.queries.principals import TeamRef


class RefillPolicyIn(serializers.Serializer):
    """Set a refill policy. Fields that are left out are null: PUT replaces the whole."""

    every = serializers.ChoiceField(choices=RefillPolicy.Every.choices)
    amount = CreditsField(min_value=1, required=False, allow_null=True, default=None)
    fill_to = CreditsField(min_value=1, required=False, allow_null=True, default=None)
    below = CreditsField(min_value=1, required=False, allow_null=True, default=None)
    max_per_month = CreditsField(min_value=1, required=False, allow_null=True, default=None)
    credit_limit = CreditsField(required=False, allow_null=True, default=None)
    is_enabled = TrueOrFalseField(required=False, default=True)


class RefillPolicyOut(serializers.Serializer):
    """A team's refill policy, and the limit that it respects."""

    team_id = serializers.CharField()
    every = serializers.CharField()
    amount = serializers.IntegerField(allow_null=True)
    fill_to = serializers.IntegerField(allow_null=True)
    below = serializers.IntegerField(allow_null=True)
    max_per_month = serializers.IntegerField(allow_null=True)
    credit_limit = serializers.IntegerField(source="account.credit_limit", allow_null=True)
    is_enabled = serializers.BooleanField()
    updated_at = serializers.DateTimeField()


class PolicyDeletedOut(serializers.Serializer):
    """The policy is gone."""

    team_id = serializers.CharField()
    deleted = serializers.BooleanField()


class RefillPolicyView(ApiView):
    """GET, PUT and DELETE /api/credits/teams/{team_id}/refill-policy"""

    permission_classes = [AnyKey]

    @extend_schema(operation_id="get_refill_policy", responses=RefillPolicyOut)
    def get(self, request: Request, team_id: str) -> Response:
        """Get how a team's credits are refilled by themselves."""
        team = self._team(request, team_id, scope="read")
        return _answer(team, policy_of(team.pk, team.team_id))

    @extend_schema(operation_id="set_refill_policy", request=RefillPolicyIn, responses=RefillPolicyOut)
    def put(self, request: Request, team_id: str) -> Response:
        """Set it, or replace it as a whole. Operators only. The current period's refill comes within a minute."""
        principal_of(request).require_scope("credits")
        team = self._team(request, team_id, scope="credits")
        data = RefillPolicyIn(data=request.data)
        data.is_valid(raise_exception=True)
        terms = refill_policies.PolicyTerms(**data.validated_data)
        policy = refill_policies.set_refill_policy(team_pk=team.pk, terms=terms, actor=actor_of(request))
        return _answer(team, policy)

    @extend_schema(operation_id="delete_refill_policy", responses={200: PolicyDeletedOut})
    def delete(self, request: Request, team_id: str) -> Response:
        """Refill the team no more by itself. Operators only."""
        principal_of(request).require_scope("credits")
        team = self._team(request, team_id, scope="credits")
        refill_policies.delete_refill_policy(team_pk=team.pk, team_id=team.team_id, actor=actor_of(request))
        return Response({"team_id": team.team_id, "deleted": True})

    def _team(self, request: Request, team_id: str, *, scope: str) -> TeamRef:
        check_client_id(team_id, field="team_id")
        return tenants.team_for(principal_of(request), team_id, scope=scope)


def _answer(team: TeamRef, policy: RefillPolicy) -> Response:
    policy.team_id = team.team_id  # type: ignore[attr-defined]
    return Response(RefillPolicyOut(policy).data)
