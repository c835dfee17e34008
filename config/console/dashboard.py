"""The console's first page (UNFOLD["DASHBOARD_CALLBACK"]): the day at a glance, and what to do next."""

from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from config.console.attention import needs_attention
from config.console.charts import charts
from config.console.filters import RANGES, Filters, parse_filters, suggestions
from config.console.first_steps import first_steps
from jobs.queries.attention import read_attention
from jobs.queries.dashboard import Dashboard, read_dashboard

#: Who may read jobs may read what they add up to.
PERMISSION = "jobs.view_job"


@dataclass(frozen=True)
class Card:
    """A figure, and how it stands to that of the days before."""

    title: str
    value: str
    #: "up", "down" or "same"; empty where there is nothing to compare with.
    direction: str = ""
    change: str = ""
    #: "good", "bad", or empty where it is neither.
    verdict: str = ""
    note: str = ""


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the page's context what templates/admin/index.html shows."""
    if not request.user.has_perm(PERMISSION):
        return context
    filters = parse_filters(request.GET, today=timezone.now().astimezone(UTC).date())
    attention = read_attention()
    board = read_dashboard(scope=filters.scope, span=filters.span)
    return context | {
        "title": "Dashboard",
        "dashboard": {
            "filters": filters,
            "ranges": _ranges(filters),
            "suggestions": suggestions(),
            "cards": cards(board),
            "charts": charts(board),
            "attention": needs_attention(attention, filters.scope),
            "steps": first_steps(request, attention),
            "before": board.span.before,
        },
    }


def _ranges(filters: Filters) -> list[dict[str, Any]]:
    """As Unfold's navigation takes them."""
    return [
        {
            "title": "Today" if days == 1 else f"{days} days",
            "link": filters.address_of(name),
            "active": filters.range == name,
        }
        for name, days in RANGES.items()
    ]


def cards(board: Dashboard) -> list[Card]:
    """The figures, each against the period before."""
    now, before = board.now, board.before
    return [
        _card("Jobs", now.jobs, before.jobs),
        _card("Success rate", now.success_percent, before.success_percent, unit=" %", places=1, more_is="good"),
        _card("Credits used", now.credits_used, before.credits_used),
        _card("Credits left", now.credits_left, before.credits_left, note="at the end"),
        _card("Cost", now.cost_usd, before.cost_usd, unit=" USD", places=2, more_is="bad"),
        _card("Margin", now.margin_usd, before.margin_usd, unit=" USD", places=2, more_is="good"),
        _card("p95 latency", now.p95_ms, before.p95_ms, unit=" ms", more_is="bad", note="of calls"),
        _card("Tokens", now.tokens, before.tokens),
    ]


def _card(
    title: str,
    now: int | Decimal | None,
    before: int | Decimal | None,
    *,
    unit: str = "",
    places: int = 0,
    more_is: str = "",
    note: str = "",
) -> Card:
    if now is None:
        return Card(title, "–", note=note)
    value = f"{now:,.{places}f}{unit}"
    if before is None:
        return Card(title, value, note=note)
    if now == before:
        return Card(title, value, "same", "no change", note=note)
    direction = "up" if now > before else "down"
    opposite = {"good": "bad", "bad": "good", "": ""}[more_is]
    return Card(title, value, direction, _change(now, before), more_is if now > before else opposite, note)


def _change(now: int | Decimal, before: int | Decimal) -> str:
    """In percent of what it was."""
    if before == 0:
        return "from 0"
    percent = Decimal(now - before) * 100 / abs(Decimal(before))
    return f"{percent:+.1f} %" if abs(percent) < 1000 else f"× {Decimal(now) / Decimal(before):.0f}"
