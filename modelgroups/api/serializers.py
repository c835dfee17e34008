"""Shapes of model groups."""

from typing import Any

from rest_framework import serializers

from config.foundation.api.fields import ClientIdField, MetadataField, TextField, TrueOrFalseField, WholeNumberField
from modelgroups.models import GroupModel
from modelgroups.services.groups import ModelSpec

MAX_MODELS = 32


class GroupModelIn(serializers.Serializer):
    """One model of a group, with its LiteLLM parameters."""

    model_name = TextField(max_length=255)
    priority = WholeNumberField(min_value=0, max_value=1_000_000, required=False, default=0)
    config = MetadataField()
    enabled = TrueOrFalseField(required=False, default=True)


def model_specs(items: list[dict[str, Any]]) -> list[ModelSpec]:
    """Validated input as the services want it."""
    return [ModelSpec(item["model_name"], item["priority"], item["config"], item["enabled"]) for item in items]


class ModelGroupIn(serializers.Serializer):
    """Create a model group."""

    group_name = ClientIdField()
    display_name = TextField(max_length=255, required=False, allow_blank=True, default="")
    description = TextField(max_length=4096, required=False, allow_blank=True, default="")
    models = serializers.ListField(child=GroupModelIn(), allow_empty=False, max_length=MAX_MODELS)
    metadata = MetadataField()


class ModelsIn(serializers.Serializer):
    """Replace a group's models."""

    models = serializers.ListField(child=GroupModelIn(), allow_empty=False, max_length=MAX_MODELS)


class GroupModelOut(serializers.Serializer):
    """One model of a group; of a provider's key only the last four characters."""

    model_name = serializers.CharField()
    priority = serializers.IntegerField()
    config = serializers.SerializerMethodField()
    enabled = serializers.BooleanField(source="is_enabled")

    def get_config(self, row: GroupModel) -> dict[str, Any]:
        """The config as it was given, but for the key."""
        if row.api_key_encrypted is None:
            return dict(row.config)
        return {**row.config, "api_key": f"****{row.api_key_last_four}"}


class ModelGroupSummaryOut(serializers.Serializer):
    """A group as a team sees it: no model's name in it."""

    model_group_id = serializers.UUIDField(source="id")
    group_name = serializers.CharField()
    display_name = serializers.CharField()
    description = serializers.CharField()
    status = serializers.CharField()
    created_at = serializers.DateTimeField()


class ModelGroupOut(ModelGroupSummaryOut):
    """A group as an operator sees it."""

    models = GroupModelOut(many=True)
    metadata = serializers.DictField()
    updated_at = serializers.DateTimeField()


class ModelGroupListOut(serializers.Serializer):
    """A page of groups."""

    total_model_groups = serializers.IntegerField()
    model_groups = ModelGroupOut(many=True)


class GroupModelsOut(serializers.Serializer):
    """A group's models in the order in which they are tried."""

    group_name = serializers.CharField()
    models = GroupModelOut(many=True)


class ResolutionOut(serializers.Serializer):
    """Which model stands behind a group."""

    group_name = serializers.CharField()
    primary_model = serializers.CharField(allow_null=True)
    fallback_models = serializers.ListField(child=serializers.CharField())
    team_has_access = serializers.BooleanField()


class DeletedOut(serializers.Serializer):
    """What was deleted."""

    group_name = serializers.CharField()
    deleted = serializers.BooleanField()


class TeamModelGroupsOut(serializers.Serializer):
    """A team's groups after a change, and the models they allow."""

    team_id = serializers.CharField()
    model_groups = serializers.ListField(child=serializers.CharField())
    allowed_models = serializers.ListField(child=serializers.CharField())
