"""The admin of jobs, calls and attempts: for reading, because the API and the workers alone write them."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from jobs.errors import Failure
from jobs.models import Attempt, Call, CallContent, CallProcess, Job
from jobs.queries.jobs import with_cost, with_hold
from modelgroups.gateway.errors import Cause
from tenancy.admin import ReadOnlyAdmin, ReadOnlyInline, in_a_row, link


class CauseFilter(admin.SimpleListFilter):
    """Why it failed. The names are known, so no scan of the table has to find them."""

    title = "cause"
    parameter_name = "cause"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        """Both kinds of cause."""
        names = sorted([*(str(cause) for cause in Cause), *(str(failure) for failure in Failure)])
        return [(name, name.replace("_", " ")) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those that failed for the chosen cause."""
        return queryset.filter(cause=self.value()) if self.value() else queryset


class CallInline(ReadOnlyInline):
    """A job's calls."""

    model = Call
    fields = ("purpose", "model_group", "state", "cause", "is_late", "tokens", "cost_usd", "latency_ms", "created_at")
    readonly_fields = fields
    ordering = ("created_at", "id")


class AttemptInline(ReadOnlyInline):
    """What was tried for a call."""

    model = Attempt
    fields = (
        "sequence",
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


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Jobs with their credit and cost."""

    list_display = ("id", "team", "user_id", "job_type", "status", "credit", "cost_usd", "created_at", "ended_at")
    list_filter = ("status", "created_at")
    list_select_related = ("team",)
    search_fields = ("team__team_id__exact", "user_id__exact", "job_type")
    uuid_fields = ("id",)
    date_hierarchy = "created_at"
    fields = (
        "id",
        "team",
        "virtual_key",
        "user_id",
        "job_type",
        "status",
        "credit",
        "cost_usd",
        "metadata",
        "error_message",
        "see_also",
        "created_at",
        "started_at",
        "ended_at",
        "expires_at",
    )
    readonly_fields = fields
    inlines = (CallInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With what `credit` and `cost_usd` show."""
        return with_cost(with_hold(super().get_queryset(request)))

    @admin.display(description="Credit")
    def credit(self, job: Any) -> str:
        """Its hold's state, which alone says whether it was charged."""
        return job.hold_state or "-"

    @admin.display(description="Cost (USD)")
    def cost_usd(self, job: Any) -> str:
        """Of all its calls."""
        return f"{job.total_cost_usd:f}"

    @admin.display(description="See also")
    def see_also(self, job: Any) -> SafeString:
        """All calls, where they are more than the list below holds; and what the ledger has."""
        return in_a_row(
            link("jobs_call_changelist", "All calls", job__id__exact=job.pk),
            link("billing_ledgerentry_changelist", "Ledger", job_id__exact=job.pk),
        )


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
    list_filter = ("state", CauseFilter, "is_late", "created_at")
    list_select_related = ("team",)
    search_fields = ("team__team_id__exact", "model_group__exact", "purpose")
    uuid_fields = ("id", "job_id", "process_id")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-id")
    fields = (
        "id",
        "job",
        "team",
        "group",
        "model_group",
        "purpose",
        "retry_of",
        "state",
        "cause",
        "error",
        "is_late",
        "prompt_tokens",
        "completion_tokens",
        "cost_usd",
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
    list_filter = ("outcome", CauseFilter, "started_at")
    search_fields = ("model_name", "error_class__exact")
    uuid_fields = ("call_id",)
    date_hierarchy = "started_at"
    ordering = ("-started_at", "-id")
    fields = ("its_call", *AttemptInline.fields)
    readonly_fields = fields

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
