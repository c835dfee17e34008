"""Lists of the admin that stay fast however long they are (docs/adr/0053).

Django's own counts every row for the pages, and again for the dates to drill into. These count up to a bound, offer a
range of dates instead, and search by one index after the other.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import parse_qsl

from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.views import ChangeList

from tenancy.models import Team

#: Rows that a list counts, and so pages through; whoever looks for more sets a filter.
MOST_COUNTED = 5_000


class BoundedPaginator(Paginator):
    """Pages over the first MOST_COUNTED rows."""

    template_name = "console/pagination.html"

    @cached_property
    def count(self) -> int:
        """How many there are, MOST_COUNTED at most."""
        rows: Any = self.object_list
        return min(rows.order_by().values("pk")[: MOST_COUNTED + 1].count(), MOST_COUNTED)

    @property
    def is_cut(self) -> bool:
        """Whether there may be more than are counted."""
        return self.count == MOST_COUNTED


class DayRangeFilter(RangeDateFilter):
    """Days in UTC, the last one included. What is no day is left out: there is nothing to find by it."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows from the first to the last day."""
        if first := self._day("from"):
            queryset = queryset.filter(**{f"{self.field_path}__gte": datetime.combine(first, time(), UTC)})
        if last := self._day("to"):
            end = datetime.combine(last, time(), UTC) + timedelta(days=1)
            queryset = queryset.filter(**{f"{self.field_path}__lt": end})
        return queryset

    def _day(self, side: str) -> date | None:
        try:
            day = date.fromisoformat(self.used_parameters.get(f"{self.parameter_name}_{side}", ""))
        except ValueError:
            return None
        return day if day.year < date.max.year else None


class LongChangeList(ChangeList):
    """A list without a hierarchy of dates (it groups all rows by month), whose filters know what they imply."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        # Only now: what the address says of a year or a month has been understood.
        self.date_hierarchy = None

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """With what the chosen filters imply, because an index has that in its condition."""
        queryset = super().get_queryset(request, exclude_parameters)
        return queryset.filter(implied_by(self.params, self.model_admin.implications))


def implied_by(params: Mapping[str, Any], implications: Mapping[str, Q]) -> Q:
    """What follows from a list's address. Implications are by "name=value", as they are in it."""
    implied = Q()
    for choice, condition in implications.items():
        ((name, value),) = parse_qsl(choice)
        if params.get(name) == value:
            implied &= condition
    return implied


def search_by_index(queryset: QuerySet[Any], term: str, *, team_column: str, columns: tuple[str, ...]) -> QuerySet[Any]:
    """The rows of the team of that id, else of the first column in which the term is found.

    One at a time, and what another table names by its number: of several conditions joined by "or", or over two tables,
    no index can be used.
    """
    term = term.strip()
    if team_column and (team_pk := Team.objects.filter(team_id=term).values_list("pk", flat=True).first()):
        return queryset.filter(**{team_column: team_pk})
    for column in columns:
        relation, _, named_by = column.rpartition("__")
        if relation:
            named = queryset.model._meta.get_field(relation).related_model._default_manager  # noqa: SLF001
            pk = named.filter(**{named_by: term}).values_list("pk", flat=True).first()
            if pk is not None:
                return queryset.filter(**{f"{relation}_id": pk})
            continue
        found = queryset.filter(**{column: term})
        if found.order_by().exists():
            return found
    return queryset.none()
