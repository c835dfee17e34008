"""What the lists of jobs, calls and attempts share: they are long, so nothing in them may read all of a table."""

from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.dateparse import parse_datetime
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter, TextFilter

from jobs.errors import Failure
from jobs.models import Call
from modelgroups.gateway.errors import Cause
from tenancy.admin import ReadOnlyAdmin

#: Further than this nobody turns pages: filters lead there.
MOST_ROWS = 10_000


class BoundedPaginator(Paginator):
    """Counts so many rows at most, because counting a million takes longer than showing fifty of them."""

    @cached_property
    def count(self) -> int:
        """How many there are, or one more than MOST_ROWS."""
        rows: Any = self.object_list
        return rows.order_by().values("pk")[: MOST_ROWS + 1].count()


class LongList(ReadOnlyAdmin):
    """A list with a filter by date instead of a drill-down, which would look for every month there is."""

    paginator = BoundedPaginator
    list_filter_submit = True


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


class DateFilter(RangeDateTimeFilter):
    """From and to, in UTC; without a time, from a day's beginning or to its end. What is no date counts as none."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Within it."""
        start, end = self._moment("from", "00:00:00"), self._moment("to", "23:59:59.999999")
        if start is not None:
            queryset = queryset.filter(**{f"{self.parameter_name}__gte": start})
        return queryset if end is None else queryset.filter(**{f"{self.parameter_name}__lte": end})

    def _moment(self, side: str, time: str) -> datetime | None:
        day = self.used_parameters.get(f"{self.parameter_name}_{side}_0")
        time = self.used_parameters.get(f"{self.parameter_name}_{side}_1") or time
        try:
            moment = parse_datetime(f"{day} {time}") if day else None
        except ValueError:
            return None
        return moment and moment.replace(tzinfo=UTC)


class JobTypeFilter(TextFilter):
    """As the app wrote it: there may be more types than a list could hold."""

    title = "job type"
    parameter_name = "job_type"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Exactly this type."""
        value = (self.value() or "").replace("\x00", "")
        return queryset.filter(job_type=value) if value else queryset
