"""Model groups over HTTP."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from config.foundation.api.fields import ClientIdField
from config.foundation.api.paging import read_page
from config.foundation.errors import InvalidInput
from config.foundation.limits import check_client_id
from modelgroups import queries
from modelgroups.api.serializers import (
    DeletedOut,
    GroupModelsOut,
    ModelGroupIn,
    ModelGroupListOut,
    ModelGroupOut,
    ModelGroupSummaryOut,
    ModelsIn,
    ResolutionOut,
    TeamModelGroupsOut,
    model_specs,
)
from modelgroups.errors import ModelGroupNotFound
from modelgroups.services import groups
from tenancy.api.base import ApiView
from tenancy.api.idempotency import idempotent
from tenancy.api.permissions import AnyKey, actor_of, principal_of
from tenancy.queries.tenants import team_for

MAX_GROUPS_PER_TEAM = 256


class ModelGroupCreateView(ApiView):
    """POST /api/model-groups/create"""

    open_methods = frozenset({"POST"})

    @extend_schema(operation_id="create_model_group", request=ModelGroupIn, responses=ModelGroupOut)
    @idempotent
    def post(self, request: Request) -> Response:
        """Create a model group. Models are tried in priority order, 0 first."""
        data = ModelGroupIn(data=request.data)
        data.is_valid(raise_exception=True)
        fields = dict(data.validated_data)
        group = groups.create_model_group(models=model_specs(fields.pop("models")), actor=actor_of(request), **fields)
        return Response(ModelGroupOut(group).data)


class ModelGroupListView(ApiView):
    """GET /api/model-groups"""

    permission_classes = [AnyKey]
    open_methods = frozenset({"GET"})

    @extend_schema(operation_id="list_model_groups", responses=ModelGroupListOut)
    def get(self, request: Request) -> Response:
        """List model groups: all of them to an operator; to a team its own, without the models' names."""
        page = read_page(request, default_limit=100)
        principal = principal_of(request)
        if principal.team is not None:
            found, shape = queries.groups_of_team(principal.team.pk), ModelGroupSummaryOut
        else:
            principal.require_scope("read")
            found, shape = queries.model_groups(), ModelGroupOut
        total = found.count()
        rows = shape(found[page.offset : page.offset + page.limit], many=True).data
        body = {"total_model_groups": total, "model_groups": rows}
        return Response(body, headers=page.links(request, total))


class ModelGroupView(ApiView):
    """/api/model-groups/{group_name}"""

    permission_classes = [AnyKey]
    open_methods = frozenset({"GET"})

    @extend_schema(operation_id="get_model_group", responses=ModelGroupOut)
    def get(self, request: Request, group_name: str) -> Response:
        """Get a model group; a team gets its own groups only, without the models' names."""
        check_client_id(group_name, field="group_name")
        principal = principal_of(request)
        if principal.team is None:
            principal.require_scope("read")
            return Response(ModelGroupOut(queries.get_model_group(group_name)).data)
        group = queries.groups_of_team(principal.team.pk).filter(group_name=group_name).first()
        if group is None:
            raise ModelGroupNotFound(group_name)
        return Response(ModelGroupSummaryOut(group).data)

    @extend_schema(operation_id="delete_model_group", responses={200: DeletedOut})
    def delete(self, request: Request, group_name: str) -> Response:
        """Delete a model group that no team uses."""
        principal_of(request).require_scope("provision")
        check_client_id(group_name, field="group_name")
        groups.delete_model_group(group_name=group_name, actor=actor_of(request))
        return Response({"group_name": group_name, "deleted": True})


class GroupModelsView(ApiView):
    """/api/model-groups/{group_name}/models"""

    open_methods = frozenset({"GET"})

    @extend_schema(operation_id="get_model_group_models", responses=GroupModelsOut)
    def get(self, request: Request, group_name: str) -> Response:
        """List a group's models in the order in which they are tried."""
        group = queries.get_model_group(check_client_id(group_name, field="group_name"))
        return Response(GroupModelsOut(group).data)

    @extend_schema(operation_id="replace_model_group_models", request=ModelsIn, responses=GroupModelsOut)
    def put(self, request: Request, group_name: str) -> Response:
        """Replace a group's models; no client has to change for it."""
        check_client_id(group_name, field="group_name")
        data = ModelsIn(data=request.data)
        data.is_valid(raise_exception=True)
        models = model_specs(data.validated_data["models"])
        group = groups.replace_models(group_name=group_name, models=models, actor=actor_of(request))
        return Response(GroupModelsOut(group).data)


class ResolveView(ApiView):
    """GET /api/model-groups/{group_name}/resolve"""

    permission_classes = [AnyKey]
    open_methods = frozenset({"GET"})

    @extend_schema(
        operation_id="resolve_model_group",
        responses=ResolutionOut,
        parameters=[OpenApiParameter("team_id", str, description="Defaults to the key's own team.")],
    )
    def get(self, request: Request, group_name: str) -> Response:
        """Which model to use for a group, and which to fall back on."""
        check_client_id(group_name, field="group_name")
        principal = principal_of(request)
        team_id = request.GET.get("team_id") or (principal.team.team_id if principal.team else None)
        if team_id is None:
            raise InvalidInput("is required", field="team_id", error_code="required")
        team = team_for(principal, check_client_id(team_id, field="team_id"), scope="read")
        is_allowed = principal.key.allows_model(group_name)
        found = queries.resolve(group_name=group_name, team_pk=team.pk, is_allowed=is_allowed)
        return Response(ResolutionOut(found).data)


class TeamModelGroupsView(ApiView):
    """PUT /api/teams/{team_id}/model-groups"""

    open_methods = frozenset({"PUT"})

    @extend_schema(
        operation_id="assign_model_groups",
        request={"application/json": {"type": "array", "items": {"type": "string"}}},
        responses=TeamModelGroupsOut,
    )
    def put(self, request: Request, team_id: str) -> Response:
        """Make these, and no others, the team's model groups. Operators only: no team widens its own access."""
        team = team_for(principal_of(request), check_client_id(team_id, field="team_id"), scope="provision")
        names = serializers.ListField(child=ClientIdField(), max_length=MAX_GROUPS_PER_TEAM)
        wanted = names.run_validation(request.data)
        groups.assign_groups(team_pk=team.pk, group_names=wanted, actor=actor_of(request))
        body = {
            "team_id": team.team_id,
            "model_groups": [group.group_name for group in queries.groups_of_team(team.pk)],
            "allowed_models": queries.allowed_models(team.pk),
        }
        return Response(body)
