"""The admin of calls and attempts: for reading, because the API and the workers alone write them."""

from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from jobs.admin.health import health_view
from jobs.admin.lists import CauseFilter
from jobs.errors import Failure
from jobs.models import Attempt, Call, CallContent, CallProcess
from jobs.models.call import OPEN_STATES
from jobs.queries.calls import position_text, with_position
from modelgroups.gateway.errors import Cause
from tenancy.admin import ReadOnlyAdmin, ReadOnlyInline, link


class AttemptInline(ReadOnlyInline):
    """What was tried for a call."""

    model = Attempt
    fields = (
        "sequence",
        "place",
        "model_name",
        "outcome",
        "cause",
        "error_class",
        "http_status",
        "latency_ms",
        "prompt_tokens",
        "completion_tokens",
        "cost_usd",
        "usage_is_estimated",
        "started_at",
    )
    readonly_fields = fields
    ordering = ("sequence",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With what `place` shows."""
        return with_position(super().get_queryset(request))

    @admin.display(description="Place")
    def place(self, attempt: Any) -> str:
        """How far the call had fallen back."""
        return position_text(attempt.position)


@admin.register(Call)
class CallAdmin(ReadOnlyAdmin):
    """Calls; what was asked and answered is not in them."""

    list_display = (
        "id",
        "team",
        "model_group",
        "purpose",
        "state",
        "cause",
        "is_late",
        "tokens",
        "cost_usd",
        "latency_ms",
        "created_at",
    )
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ("team", AutocompleteSelectFilter),
        CauseFilter,
        "is_late",
    )
    list_select_related = ("team",)
    search_fields = indexed_columns = ("group__group_name",)
    search_help_text = "A team's id, a call's or a job's id, or a model group, in full"
    team_column = "team_id"
    uuid_fields = ("id", "job_id", "process_id")
    sortable_by = ("created_at",)
    implications: ClassVar = {
        **{f"state__exact={state}": Q(ended_at=None) for state in OPEN_STATES},
        "state__exact=failed": ~Q(cause=""),
        # Only one thing ends a call so: the sweeper, and a client that left.
        "state__exact=interrupted": Q(cause=Failure.INTERRUPTED),
        "state__exact=cancelled": Q(cause=Cause.CLIENT_GONE),
    }
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-id")
    fields = (
        "id",
        "job",
        "team",
        "endpoint",
        "group",
        "model_group",
        "model_name",
        "purpose",
        "retry_of",
        "state",
        "cause",
        "error",
        "is_late",
        "prompt_tokens",
        "completion_tokens",
        "cost_usd",
        "reserved_usd",
        "latency_ms",
        "finish_reason",
        "process_id",
        "created_at",
        "started_at",
        "ended_at",
        "deadline_at",
    )
    readonly_fields = fields
    inlines = (AttemptInline,)

    @admin.display(ordering="team__team_id")
    def team(self, call: Call) -> SafeString:
        """Whose it is."""
        return link("tenancy_team_change", call.team, pk=call.team_id)


@admin.register(CallContent)
class CallContentAdmin(ReadOnlyAdmin):
    """Where prompts and answers are kept, and until when; what they say is their team's and not shown."""

    list_display = ("its_call", "team", "has_request", "has_answer", "erase_at")
    list_select_related = ("call__team",)
    search_fields = ("call__team__team_id__exact",)
    uuid_fields = ("call_id",)
    secret_fields = ("request", "answer")
    ordering = ("-erase_at", "-call_id")
    fields = ("its_call", "team", "has_request", "has_answer", "published_at", "erase_at")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Without the contents, which may be long."""
        return (
            super()
            .get_queryset(request)
            .annotate(request_is_kept=Q(request__isnull=False), answer_is_kept=Q(answer__isnull=False))
            .defer("request", "answer")
        )

    @admin.display(description="Call")
    def its_call(self, content: CallContent) -> SafeString:
        """A link by its id."""
        return link("jobs_call_change", content.call_id, pk=content.call_id)

    @admin.display(ordering="call__team__team_id")
    def team(self, content: CallContent) -> SafeString:
        """Its call's."""
        return link("tenancy_team_change", content.call.team, pk=content.call.team_id)

    @admin.display(boolean=True, description="Request")
    def has_request(self, content: Any) -> bool:
        """Whether it is kept."""
        return content.request_is_kept

    @admin.display(boolean=True, description="Answer")
    def has_answer(self, content: Any) -> bool:
        """Whether it is kept."""
        return content.answer_is_kept


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    """Attempts over all calls: how does this model do?"""

    list_display = (
        "started_at",
        "model_name",
        "outcome",
        "cause",
        "error_class",
        "http_status",
        "latency_ms",
        "cost_usd",
        "its_call",
    )
    list_filter = (
        ("outcome", ChoicesDropdownFilter),
        CauseFilter,
    )
    search_fields = indexed_columns = ("model_name",)
    search_help_text = "A model or a call's id, in full"
    uuid_fields = ("call_id",)
    sortable_by = ("started_at",)
    implications: ClassVar = {"outcome__exact=failed": ~Q(cause="")}
    date_hierarchy = "started_at"
    ordering = ("-started_at", "-id")
    fields = ("its_call", *AttemptInline.fields)
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        """And how the models do."""
        view = self.admin_site.admin_view(partial(health_view, self))
        return [path("health/", view, name="jobs_attempt_health"), *super().get_urls()]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """With what `place` shows, which a list would have to find for every row."""
        attempt = super().get_object(request, object_id, from_field)
        return attempt and with_position(Attempt.objects.filter(pk=attempt.pk)).get()

    @admin.display(description="Place")
    def place(self, attempt: Any) -> str:
        """How far its call had fallen back."""
        return position_text(attempt.position)

    @admin.display(description="Call")
    def its_call(self, attempt: Attempt) -> SafeString:
        """A link by its id."""
        return link("jobs_call_change", attempt.call_id, pk=attempt.call_id)


@admin.register(CallProcess)
class CallProcessAdmin(ReadOnlyAdmin):
    """The web and worker processes that answer for calls."""

    list_display = ("name", "id", "is_alive", "started_at", "heartbeat_at")
    search_fields = ("name",)
    uuid_fields = ("id",)
    date_hierarchy = "started_at"
    fields = ("id", "name", "is_alive", "its_calls", "started_at", "heartbeat_at")
    readonly_fields = fields

    @admin.display(boolean=True, ordering="heartbeat_at")
    def is_alive(self, process: CallProcess) -> bool:
        """Whether its heartbeat is fresh."""
        return process.heartbeat_at > timezone.now() - timedelta(seconds=settings.WORKER_LOST_AFTER_S)

    @admin.display(description="Calls")
    def its_calls(self, process: CallProcess) -> SafeString:
        """What it runs or ran."""
        return link("jobs_call_changelist", "Calls", process_id__exact=process.pk)
