"""The admin of model groups: made, ordered and switched off by the services that the API calls."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString
from unfold import admin as unfold

from config.foundation.errors import DomainError
from modelgroups.admin.group_forms import MAX_MODELS, GroupForm, GroupModelForm, ModelsFormSet
from modelgroups.admin.models import ShownModel, ShownModelsInline, for_this_user
from modelgroups.models import GroupAssignment, GroupModel, ModelGroup
from modelgroups.services import groups
from tenancy.admin import BrowseAdmin, ReadOnlyAdmin, ReadOnlyInline, actor_of, link


class OrderedModelsInline(ShownModel, unfold.TabularInline):
    """A group's models, to be dragged into the order in which they are tried. Who may change the group, may them."""

    model = GroupModel
    form = GroupModelForm
    formset = ModelsFormSet
    verbose_name_plural = "models, in the order in which they are tried"
    extra = 0
    min_num = 1
    max_num = MAX_MODELS
    ordering_field = "place"
    hide_ordering_field = True
    fields = (
        "place",
        "model_name",
        "is_enabled",
        "shares",
        "credential",
        "new_api_key",
        "shown_api_key",
        "config",
        "price",
        "test",
        "tools",
    )
    readonly_fields = ("shown_api_key", "price", "test", "tools")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """What the user may do with them."""
        return for_this_user(request, self.fields)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Without the keys."""
        return super().get_queryset(request).defer("api_key_encrypted")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """It is there for those only who may."""
        return True

    has_change_permission = has_delete_permission = has_view_permission = has_add_permission


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


@admin.register(ModelGroup)
class ModelGroupAdmin(BrowseAdmin):
    """A group and its models in one form; an inactive group answers as if it were not assigned."""

    form = GroupForm
    list_display = ("group_name", "display_name", "status", "models_in_order", "created_at", "updated_at")
    list_filter = ("status",)
    search_fields = ("group_name", "display_name", "models__model_name")
    uuid_fields = ("id",)
    date_hierarchy = "created_at"
    warn_unsaved_form = True

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A group is made here, too."""
        return super(BrowseAdmin, self).has_add_permission(request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A new group is active, and its name is for good."""
        texts = ("display_name", "description", "metadata")
        if obj is None:
            return ("group_name", *texts)
        return ("id", "group_name", "status", *texts, "see_also", "created_at", "updated_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Clients say the name."""
        return () if obj is None else ("id", "group_name", "see_also", "created_at", "updated_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With what `models_in_order` shows."""
        return super().get_queryset(request).prefetch_related("models")

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        """The models to be changed or only to be seen."""
        if obj is None:
            return [OrderedModelsInline]
        may = self.has_change_permission(request, obj)
        return [OrderedModelsInline if may else ShownModelsInline, GroupTeamInline]

    @admin.display(description="Models")
    def models_in_order(self, group: ModelGroup) -> str:
        """Those that are tried."""
        names = [model.model_name for model in group.models.all() if model.is_enabled]
        return " → ".join(names[:4]) + (" → …" if len(names) > 4 else "")

    @admin.display(description="See also")
    def see_also(self, group: ModelGroup) -> SafeString:
        """How its models do."""
        return link("jobs_attempt_health", "Health of its models", group=group.pk)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Refuses a form whose models are no longer those that it was opened with, before Django stumbles over it."""
        may = self.has_change_permission(request) if object_id else self.has_add_permission(request)
        if request.method == "POST" and may and self._is_stale(request, object_id):
            messages.error(
                request, "Nothing was saved: the models were changed meanwhile. Here they are as they are now."
            )
            return HttpResponseRedirect(request.path)
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except DomainError as error:
            # What the form's own check could not see yet; the transaction was rolled back.
            messages.error(request, f"Nothing was saved: {error}")
            return HttpResponseRedirect(request.path)

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm, change: bool) -> None:
        """With its models, by `save_related`."""

    def save_related(self, request: HttpRequest, form: ModelForm, formsets: Any, change: bool) -> None:
        """By the services, which keep LiteLLM Proxy in step and write the audit log."""
        given = form.changed_data if change else form.cleaned_data
        fields = {name: form.cleaned_data[name] for name in groups.EDITABLE if name in given}
        name, actor = form.instance.group_name, actor_of(request)
        models = next(formset for formset in formsets if isinstance(formset, ModelsFormSet))
        if not change:
            made = groups.create_model_group(group_name=name, models=models.specs, actor=actor, **fields)
            form.instance.pk = made.pk
        else:
            groups.change_model_group(group_name=name, actor=actor, **fields)
            if models.is_changed:
                groups.replace_models(group_name=name, models=models.specs, actor=actor)
        for formset in formsets:
            # For Django's own history, which the audit log has in full.
            formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []

    def _is_stale(self, request: HttpRequest, object_id: str | None) -> bool:
        """Every change of a group's models makes new rows."""
        prefix, rows = "models", []
        if object_id is not None:
            group = self.get_object(request, object_id)
            rows = [str(row.pk) for row in group.models.all()] if group else []
        sent = [request.POST.get(f"{prefix}-{index}-id", "") for index in range(len(rows))]
        return request.POST.get(f"{prefix}-INITIAL_FORMS") != str(len(rows)) or sent != rows


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
