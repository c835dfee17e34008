"""The dashboard's charts, as Unfold's chart components take them: data and options of Chart.js, in JSON.

They go into attributes of the canvas, so no script is written into the page. Money goes as text, which Chart.js reads
as a number.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from jobs.queries.dashboard import Dashboard

#: Told apart on white and on black, and by people who see no difference between red and green.
COLORS = ("#6366f1", "#f59e0b", "#14b8a6", "#ec4899", "#84cc16", "#0ea5e9", "#a855f7", "#9ca3af")
STATUS_COLORS = {"completed": "#14b8a6", "failed": "#f43f5e", "in_progress": "#6366f1", "pending": "#9ca3af"}
#: Models with a color of their own; the others share one.
MOST_MODELS = 6
OTHERS = "other models"
_GREY = "#9ca3af"


@dataclass(frozen=True)
class Chart:
    """A bar chart, the one kind that all of them are."""

    title: str
    data: str
    options: str
    is_empty: bool
    note: str = ""


def charts(board: Dashboard) -> list[Chart]:
    """All of them, in the order of the page."""
    days = [f"{day:%b} {day.day}" for day in board.span.days]
    lists = [
        _most("Top teams by credits used", board.top_teams),
        _most("Top job types", board.top_job_types),
        _most("Failed calls by cause", [(cause.replace("_", " "), n) for cause, n in board.causes.most_common(8)]),
    ]
    return [_jobs(board, days), _costs(board, days), _credits(board, days), _margins(board, days), *lists]


def _jobs(board: Dashboard, days: list[str]) -> Chart:
    sets = [
        _dataset(status.replace("_", " "), color, [board.jobs[day, status] for day in board.span.days])
        for status, color in STATUS_COLORS.items()
    ]
    return _by_day("Jobs per day by status", days, sets, is_empty=not board.jobs)


def _costs(board: Dashboard, days: list[str]) -> Chart:
    named, others = board.models[:MOST_MODELS], board.models[MOST_MODELS:]
    sets = [
        _dataset(model, color, [board.costs_usd.get((day, model), Decimal(0)) for day in board.span.days])
        for model, color in zip(named, COLORS, strict=False)
    ]
    if others:
        sums = [sum(board.costs_usd.get((day, model), Decimal(0)) for model in others) for day in board.span.days]
        sets.append(_dataset(OTHERS, _GREY, sums))
    return _by_day("Cost per day by model (USD)", days, sets, is_empty=not any(board.costs_usd.values()))


def _credits(board: Dashboard, days: list[str]) -> Chart:
    sets = [
        _dataset("used", COLORS[0], [board.credits_used[day] for day in board.span.days]),
        _dataset("added", COLORS[2], [board.credits_added[day] for day in board.span.days]),
    ]
    return _by_day(
        "Credits per day", days, sets, is_empty=not (board.credits_used or board.credits_added), is_stacked=False
    )


def _margins(board: Dashboard, days: list[str]) -> Chart:
    margins = [board.margin_usd_of(day) for day in board.span.days]
    colors = [STATUS_COLORS["failed"] if margin < 0 else STATUS_COLORS["completed"] for margin in margins]
    return _by_day(
        "Margin per day (USD)",
        days,
        [_dataset("margin", colors, margins)],
        is_empty=not any(margins),
        note="Credits used at the price of a credit, less what the calls cost.",
        has_legend=False,
    )


def _most(title: str, rows: Sequence[tuple[str, int]]) -> Chart:
    """Bars that lie, so that names have room."""
    data = {
        "labels": [_short(name) for name, _ in rows],
        "datasets": [_dataset(title, COLORS[0], [count for _, count in rows])],
    }
    return Chart(title, json.dumps(data), json.dumps(_options(lies=True, has_legend=False)), not rows)


def _by_day(
    title: str,
    days: list[str],
    datasets: list[dict[str, Any]],
    *,
    is_empty: bool,
    is_stacked: bool = True,
    has_legend: bool = True,
    note: str = "",
) -> Chart:
    options = _options(is_stacked=is_stacked, has_legend=has_legend)
    data = {"labels": days, "datasets": datasets}
    return Chart(title, json.dumps(data), json.dumps(options), is_empty, note)


def _dataset(label: str, color: str | list[str], values: Sequence[int | Decimal]) -> dict[str, Any]:
    printed = [value if isinstance(value, int) else f"{value:.6f}" for value in values]
    return {"label": _short(label), "data": printed, "backgroundColor": color, "borderRadius": 3, "maxBarThickness": 28}


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:39]}…"


def _options(*, is_stacked: bool = False, has_legend: bool, lies: bool = False) -> dict[str, Any]:
    ticks = {"color": _GREY, "maxRotation": 0, "autoSkipPadding": 12}
    names = {"stacked": is_stacked, "ticks": ticks, "grid": {"display": False}, "border": {"display": False}}
    values = {**names, "beginAtZero": True, "grid": {"display": True}}
    return {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "indexAxis": "y" if lies else "x",
        "interaction": {"mode": "index", "axis": "y" if lies else "x", "intersect": False},
        "plugins": {
            "legend": {
                "display": has_legend,
                "position": "bottom",
                "labels": {"color": _GREY, "boxWidth": 8, "boxHeight": 8, "usePointStyle": True},
            }
        },
        # Unfold paints both grids when the theme changes, so both must have one.
        "scales": {"x": values, "y": names} if lies else {"x": names, "y": values},
    }
