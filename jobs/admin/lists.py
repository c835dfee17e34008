"""The filters of the lists of jobs, calls and attempts."""

from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter, TextFilter

from jobs.errors import Failure
from jobs.models import Call
from modelgroups.gateway.errors import Cause


class CauseFilter(DropdownFilter):
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


class JobCauseFilter(CauseFilter):
    """Jobs with a call that failed for it."""

    title = "failure cause"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Whatever became of the job."""
        if not self.value():
            return queryset
        return queryset.filter(Exists(Call.objects.filter(job_id=OuterRef("pk"), cause=self.value())))


class JobTypeFilter(TextFilter):
    """As the app wrote it: there may be more types than a list could hold."""

    title = "job type"
    parameter_name = "job_type"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Exactly this type."""
        value = self.value()
        return queryset.filter(job_type=value) if value else queryset
