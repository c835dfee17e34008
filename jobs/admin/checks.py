"""The button "Test this model": asked before it acts, then a page with what came of it."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.widgets import UnfoldAdminSelectWidget

from jobs.errors import cause_text
from jobs.models import ModelCheck
from jobs.services.checks import request_check, wait_for_check
from modelgroups.admin.models import TEST_PERMISSION
from modelgroups.gateway.parameters import CREDENTIAL
from modelgroups.models import GroupModel, ProviderCredential
from tenancy.admin import ReadOnlyAdmin, actor_of, link
from tenancy.admin.forms import ConsoleForm, form_page

#: How long the outcome's page waits for it, after which it says how to look again.
WAIT_S = 5.0
#: A worker asks for half a minute at most; who has not said anything by then will not.
LOST_AFTER_S = 120


class CheckForm(ConsoleForm):
    """With whose credential, where organizations have one of their own. Sent twice, it is one call."""

    organization = forms.ChoiceField(label="With the credential of", required=False, widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, owners: list[tuple[int, str]], **options: Any) -> None:
        super().__init__(*args, **options)
        if owners:
            self.fields["organization"].choices = [("", "everybody"), *owners]  # type: ignore[attr-defined]
        else:
            del self.fields["organization"]


@admin.register(ModelCheck)
class ModelCheckAdmin(ReadOnlyAdmin):
    """Tests of models, for a month."""

    list_display = ("created_at", "model_name", "group_name", "state", "cause", "latency_ms", "cost_usd", "actor")
    list_filter = (("state", ChoicesDropdownFilter),)
    search_fields = ("model_name", "group_name__exact", "actor__exact")
    uuid_fields = ("id",)
    ordering = ("-created_at", "-id")
    fields = (
        "model_name",
        "group_name",
        "organization",
        "outcome",
        "error",
        "http_status",
        "latency_ms",
        "prompt_tokens",
        "completion_tokens",
        "cost",
        "again",
        "see_also",
        "actor",
        "created_at",
        "ended_at",
    )
    readonly_fields = fields

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may test sees what came of it."""
        return request.user.has_perm(TEST_PERMISSION) or super().has_view_permission(request, obj)

    def get_urls(self) -> list[URLPattern]:
        """And the page that asks whether to test."""
        view = self.admin_site.admin_view(self.new_view)
        return [path("new/<int:pk>/", view, name="jobs_modelcheck_new"), *super().get_urls()]

    def new_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """By the service; the outcome's page waits for the worker."""
        if not request.user.has_perm(TEST_PERMISSION):
            raise PermissionDenied
        model = GroupModel.objects.select_related("group").defer("api_key_encrypted").filter(pk=pk).first()
        if model is None:
            raise Http404

        def act(form: CheckForm) -> HttpResponse:
            organization = form.cleaned_data.get("organization")
            check = form.once(
                request,
                lambda: request_check(
                    model_pk=pk,
                    organization_pk=int(organization) if organization else None,
                    actor=actor_of(request),
                ),
            )
            if check is None:
                return HttpResponseRedirect(reverse("admin:jobs_modelcheck_changelist"))
            return HttpResponseRedirect(reverse("admin:jobs_modelcheck_change", args=[check.pk]))

        return form_page(
            self,
            request,
            CheckForm,
            act,
            title=f"Test {model.model_name} of {model.group}?",
            text="One small chat call is sent to it. The provider charges it; no team does.",
            submit="Send the test call",
            owners=_owners(model),
        )

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **options: Any) -> HttpResponse:
        """Of a test that was just asked for, it waits a moment for the outcome."""
        check = self.get_object(request, object_id) if self.has_view_permission(request) else None
        if check is not None and not check.has_ended:
            waited_s = (timezone.now() - check.created_at).total_seconds()
            wait_for_check(check.pk, within_s=WAIT_S - waited_s)
        return super().change_view(request, object_id, *args, **options)

    @admin.display(description="Outcome")
    def outcome(self, check: ModelCheck) -> str:
        """In words, while there is none yet."""
        if check.has_ended:
            return check.state
        if (timezone.now() - check.created_at).total_seconds() > LOST_AFTER_S:
            return "lost: no worker has taken it to its end; is one running?"
        return "still running: reload this page in a moment"

    @admin.display(description="Error")
    def error(self, check: ModelCheck) -> str:
        """In our own words: a provider's may hold a key."""
        return f"{cause_text(check.cause)} ({check.error_class})" if check.cause else "-"

    @admin.display(description="Cost (USD)")
    def cost(self, check: ModelCheck) -> str:
        """As the provider will have it."""
        return "-" if check.cost_usd is None else f"{check.cost_usd:f}"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Once more, for who may."""
        may_test = request.user.has_perm(TEST_PERMISSION)
        return tuple(name for name in self.fields if name != "again" or may_test)

    @admin.display(description="Once more")
    def again(self, check: ModelCheck) -> SafeString | str:
        """As long as the model is there."""
        return link("jobs_modelcheck_new", "Test again", pk=check.model_id) if check.model_id else "-"

    @admin.display(description="See also")
    def see_also(self, check: ModelCheck) -> SafeString | str:
        """The model, as long as it is there."""
        return link("modelgroups_groupmodel_change", "Model", pk=check.model_id) if check.model_id else "-"


def _owners(model: GroupModel) -> list[tuple[int, str]]:
    """Organizations with a credential of their own for it."""
    name = model.config.get(CREDENTIAL)
    if name is None:
        return []
    own = ProviderCredential.objects.filter(name=name, organization__isnull=False)
    owners = own.order_by("organization__organization_id").values_list(
        "organization_id", "organization__organization_id"
    )
    return [(pk, organization_id) for pk, organization_id in owners if pk is not None]
