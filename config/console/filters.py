"""The dashboard's filters, as its address has them. What makes no sense is said, and left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from django.db.models import Value
from django.utils.http import urlencode

from jobs.queries.dashboard import Scope, Span
from tenancy.models import Organization, Team

#: Days up to today, by their names in the address.
RANGES = {"today": 1, "7": 7, "30": 30, "90": 90}
DEFAULT_RANGE = "30"
LONGEST_DAYS = 366
#: Suggested while one types; whoever has more knows the names.
SUGGESTIONS = 500


@dataclass
class Filters:
    """What was asked for, and what became of it. `problems` are for whoever asked."""

    range: str
    span: Span
    organization: Organization | None = None
    team: Team | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def scope(self) -> Scope:
        """Whose figures."""
        if self.team:
            return Scope(team_pk=self.team.pk)
        return Scope(organization_pk=self.organization.pk) if self.organization else Scope()

    @property
    def subject(self) -> str:
        """The same, for people."""
        if self.team:
            return f"team {self.team.team_id}"
        return f"organization {self.organization.organization_id}" if self.organization else "all teams"

    def address_of(self, name: str) -> str:
        """The same tenant, in another range."""
        query = {"range": name}
        if self.organization:
            query["organization"] = self.organization.organization_id
        if self.team:
            query["team"] = self.team.team_id
        return f"?{urlencode(query)}"


def parse_filters(query: Mapping[str, str], *, today: date) -> Filters:
    """Filters from an address; at most two queries."""
    problems: list[str] = []
    name, span = _span(query, today, problems)
    filters = Filters(name, span, problems=problems)
    _read_tenant(filters, query.get("organization", "").strip(), query.get("team", "").strip())
    return filters


def _span(query: Mapping[str, str], today: date, problems: list[str]) -> tuple[str, Span]:
    name = query.get("range", DEFAULT_RANGE)
    if name == "custom":
        span = _custom_span(query, today, problems)
        if span is not None:
            known = (each for each, days in RANGES.items() if span == _days_up_to(today, days))
            return next(known, "custom"), span
    elif name not in RANGES:
        problems.append(f"There is no range '{name[:40]}'.")
    name = name if name in RANGES else DEFAULT_RANGE
    return name, _days_up_to(today, RANGES[name])


def _custom_span(query: Mapping[str, str], today: date, problems: list[str]) -> Span | None:
    try:
        first, last = (date.fromisoformat(query.get(name, "")) for name in ("from", "to"))
    except ValueError:
        problems.append("Both dates are needed, as in 2026-01-31.")
        return None
    last = min(last, today)
    if first > last:
        problems.append("The first day must not be after the last one, nor after today.")
        return None
    span = Span(first, last)
    if span.length > LONGEST_DAYS or first.year < 2000:
        problems.append(f"At most {LONGEST_DAYS} days can be shown.")
        return None
    return span


def _days_up_to(today: date, days: int) -> Span:
    return Span(today - timedelta(days=days - 1), today)


def _read_tenant(filters: Filters, organization_id: str, team_id: str) -> None:
    """A NUL is no character of PostgreSQL's; no id has one."""
    if organization_id:
        found = Organization.objects.filter(organization_id=organization_id.replace("\0", "?"))
        filters.organization = found.first()
        if filters.organization is None:
            filters.problems.append(f"There is no organization '{organization_id[:40]}'.")
    if team_id:
        teams = Team.objects.select_related("organization").filter(team_id=team_id.replace("\0", "?"))
        team = teams.first()
        if team is None:
            filters.problems.append(f"There is no team '{team_id[:40]}'.")
        elif filters.organization and team.organization != filters.organization:
            filters.problems.append(f"Team '{team_id}' is not one of '{organization_id}'.")
        else:
            filters.team = team


def suggestions() -> dict[str, list[str]]:
    """Ids to choose from, in one query."""
    organizations = Organization.objects.order_by("organization_id").values_list(Value("o"), "organization_id")
    teams = Team.objects.order_by("team_id").values_list(Value("t"), "team_id")
    ids = list(organizations[:SUGGESTIONS].union(teams[:SUGGESTIONS], all=True))
    return {
        "organizations": sorted(name for kind, name in ids if kind == "o"),
        "teams": sorted(name for kind, name in ids if kind == "t"),
    }
