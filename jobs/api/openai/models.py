"""`/v1/models`: what a client may name as its `model`."""

from collections.abc import Iterator
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.errors import TeamKeyRequired, UnknownModel
from modelgroups.models import ModelGroup
from modelgroups.queries import groups_of_team
from tenancy.api.base import ApiView
from tenancy.api.permissions import AnyKey, principal_of
from tenancy.queries.principals import TeamRef

#: Whoever may ask a model may know which there are.
KEY_SCOPES = ("direct", "read")


class ModelOut(serializers.Serializer):
    """OpenAI's model object. `owned_by` says whether it is a model or a group, which has fallbacks."""

    id = serializers.CharField()
    object = serializers.CharField()
    created = serializers.IntegerField()
    owned_by = serializers.CharField()


class ModelListOut(serializers.Serializer):
    """OpenAI's list."""

    object = serializers.CharField()
    data = ModelOut(many=True)  # type: ignore[assignment]


class ModelListView(ApiView):
    """GET /v1/models"""

    permission_classes = [AnyKey]
    key_scopes = KEY_SCOPES

    @extend_schema(operation_id="openai_list_models", responses=ModelListOut)
    def get(self, request: Request) -> Response:
        """List the models and model groups that the key's team may call."""
        return Response({"object": "list", "data": list(_models(request))})


class ModelView(ApiView):
    """GET /v1/models/{model}"""

    permission_classes = [AnyKey]
    key_scopes = KEY_SCOPES

    @extend_schema(operation_id="openai_get_model", responses=ModelOut)
    def get(self, request: Request, model: str) -> Response:
        """Get one of them."""
        found = next((one for one in _models(request) if one["id"] == model), None)
        if found is None:
            raise UnknownModel(model)
        return Response(found)


def _team(request: Request) -> TeamRef:
    team = principal_of(request).team
    if team is None:
        raise TeamKeyRequired
    return team


def _models(request: Request) -> Iterator[dict[str, Any]]:
    """Models first, in the order of the team's groups, each name once; then the groups. Those that the key may name."""
    team, key = _team(request), principal_of(request).key
    groups = list(groups_of_team(team.pk).filter(status=ModelGroup.Status.ACTIVE))
    names: dict[str, tuple[int, str]] = {}
    for group in groups:
        created = int(group.created_at.timestamp())
        enabled = (model for model in group.models.all() if model.is_enabled)
        for model in sorted(enabled, key=lambda model: (model.priority, model.position)):
            names.setdefault(model.model_name, (created, "model"))
    for group in groups:
        names.setdefault(group.group_name, (int(group.created_at.timestamp()), "model-group"))
    for name, (created, kind) in names.items():
        if key.allows_model(name):
            yield {"id": name, "object": "model", "created": created, "owned_by": kind}
