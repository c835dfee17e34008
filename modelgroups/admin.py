"""The admin of model groups: a group can be switched off here; its models change through the API, which checks them."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from modelgroups.models import GroupAssignment, GroupModel, ModelGroup
from tenancy.admin import AuditedAdmin, ReadOnlyAdmin, ReadOnlyInline, link


class WithoutSecrets:
    """The columns of a model that may hold a secret, without it."""

    @admin.display(description="Config")
    def shown_config(self, model: GroupModel) -> str:
        """The values of headers are hidden: they often carry a key."""
        config = dict(model.config)
        if "extra_headers" in config:
            config["extra_headers"] = dict.fromkeys(config["extra_headers"], "****")
        return json.dumps(config, ensure_ascii=False)

    @admin.display(description="Provider key")
    def shown_api_key(self, model: GroupModel) -> str:
        """Its last four characters."""
        return f"****{model.api_key_last_four}" if model.api_key_last_four else "-"


class GroupModelInline(WithoutSecrets, ReadOnlyInline):
    """A group's models in the order in which they are tried."""

    model = GroupModel
    fields = ("model_name", "priority", "position", "shown_api_key", "shown_config")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Without the keys."""
        return super().get_queryset(request).defer("api_key_encrypted")


class GroupTeamInline(ReadOnlyInline):
    """The teams that may use a group."""

    model = GroupAssignment
    verbose_name_plural = "teams that may use it"
    fields = ("team",)
    readonly_fields = fields
    show_change_link = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the teams' ids."""
        return super().get_queryset(request).select_related("team")


class TeamGroupInline(ReadOnlyInline):
    """The groups that a team may use: for the team's page."""

    model = GroupAssignment
    verbose_name_plural = "model groups"
    fields = ("group", "status")
    readonly_fields = fields
    show_change_link = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the groups."""
        return super().get_queryset(request).select_related("group")

    def status(self, assignment: GroupAssignment) -> str:
        """The group's."""
        return assignment.group.status


@admin.register(ModelGroup)
class ModelGroupAdmin(AuditedAdmin):
    """Only the status can be changed: an inactive group answers as if it were not assigned."""

    list_display = ("group_name", "display_name", "status", "created_at", "updated_at")
    list_filter = ("status",)
    search_fields = ("group_name", "display_name", "models__model_name")
    uuid_fields = ("id",)
    date_hierarchy = "created_at"
    fields = ("id", "group_name", "display_name", "description", "status", "metadata", "created_at", "updated_at")
    readonly_fields = tuple(name for name in fields if name != "status")
    inlines = (GroupModelInline, GroupTeamInline)
    audit_word = "group"


@admin.register(GroupModel)
class GroupModelAdmin(WithoutSecrets, ReadOnlyAdmin):
    """Models over all groups: which groups use this one?"""

    list_display = ("model_name", "group", "priority", "position", "shown_api_key")
    list_select_related = ("group",)
    search_fields = ("model_name", "group__group_name", "api_key_last_four__exact")
    secret_fields = ("api_key_encrypted",)
    fields = ("group", "model_name", "priority", "position", "shown_api_key", "shown_config")
    readonly_fields = fields

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Nothing by config either, in which headers may be secret."""
        return not lookup.startswith("config") and super().lookup_allowed(lookup, value, request)


@admin.register(GroupAssignment)
class GroupAssignmentAdmin(ReadOnlyAdmin):
    """Which team may use which group."""

    list_display = ("__str__", "team", "group_link", "position")
    list_select_related = ("team", "group")
    search_fields = ("team__team_id", "group__group_name")
    fields = ("team", "group", "position")

    @admin.display(description="Group", ordering="group__group_name")
    def group_link(self, assignment: GroupAssignment) -> SafeString:
        """To the group's page."""
        return link("modelgroups_modelgroup_change", assignment.group, pk=assignment.group_id)
