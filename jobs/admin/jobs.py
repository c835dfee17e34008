"""The admin of jobs: a job, its calls, and its receipt."""

from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from jobs.admin.lists import JobCauseFilter, JobTypeFilter
from jobs.errors import JobNotFound
from jobs.models import Call, Job
from jobs.queries.jobs import with_cost, with_hold
from jobs.queries.receipts import receipt
from tenancy.admin import ReadOnlyAdmin, ReadOnlyInline, in_a_row, link


class CallInline(ReadOnlyInline):
    """A job's calls."""

    model = Call
    fields = ("purpose", "model_group", "state", "cause", "is_late", "tokens", "cost_usd", "latency_ms", "created_at")
    readonly_fields = fields
    ordering = ("created_at", "id")


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Jobs with their credit and cost."""

    list_display = ("id", "team", "user_id", "job_type", "status", "credit", "cost_usd", "created_at", "ended_at")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("team", AutocompleteSelectFilter),
        ("team__organization", AutocompleteSelectFilter),
        JobTypeFilter,
        JobCauseFilter,
    )
    list_select_related = ("team",)
    search_fields = indexed_columns = ("job_type", "user_id")
    search_help_text = "A team's id, a job's id, a job type or a user, in full"
    team_column = "team_id"
    uuid_fields = ("id",)
    sortable_by = ("created_at",)
    implications: ClassVar = {"status__exact=pending": Q(ended_at=None), "status__exact=in_progress": Q(ended_at=None)}
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

    def get_urls(self) -> list[URLPattern]:
        """And the receipt."""
        view = self.admin_site.admin_view(self.receipt_view)
        return [path("<uuid:pk>/receipt/", view, name="jobs_job_receipt"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With what `credit` and `cost_usd` show."""
        return with_cost(with_hold(super().get_queryset(request)))

    def receipt_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """A page to print."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            return TemplateResponse(request, "jobs/receipt.html", {"receipt": receipt(pk)})
        except JobNotFound as error:
            raise Http404 from error

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
            link("jobs_job_receipt", "Receipt", pk=job.pk),
            link("jobs_call_changelist", "All calls", job__id__exact=job.pk),
            link("billing_ledgerentry_changelist", "Ledger", job_id__exact=job.pk),
        )
