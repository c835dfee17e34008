"""What the console's dashboard shows of a span of days, read from the rollups alone."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeVar

from django.conf import settings
from django.db.models import BooleanField, Case, F, Manager, Q, QuerySet, Sum, Value, When

from billing.models import CreditAccount
from jobs.models import CallDay, CreditDay, JobDay, ModelDay
from jobs.models.day_rollup import LATENCY_BOUNDS_MS, DayRollup
from jobs.queries.latencies import quantile_ms

#: Rows of a list of the most.
MOST = 8
_BUCKETS = [f"bucket_{number}" for number in range(len(LATENCY_BOUNDS_MS) + 1)]
_Row = TypeVar("_Row", bound=DayRollup)


@dataclass(frozen=True)
class Span:
    """Days in UTC; the last one is still part of it."""

    first: date
    last: date

    @property
    def length(self) -> int:
        """In days."""
        return (self.last - self.first).days + 1

    @property
    def before(self) -> "Span":
        """As many days, just before it."""
        return Span(self.first - timedelta(days=self.length), self.first - timedelta(days=1))

    @property
    def days(self) -> list[date]:
        """Each of them."""
        return [self.first + timedelta(days=number) for number in range(self.length)]

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True)
class Scope:
    """Whose figures: one team's, those of an organization's teams, or everybody's."""

    team_pk: int | None = None
    organization_pk: int | None = None

    @property
    def rollups(self) -> Q:
        """Their rows. Everybody's are summed up already, in rows without a team."""
        if self.team_pk is not None:
            return Q(team_id=self.team_pk)
        if self.organization_pk is not None:
            return Q(team__organization_id=self.organization_pk)
        return Q(team=None)

    @property
    def rollups_by_team(self) -> Q:
        """The same, but each team by itself."""
        return Q(team__isnull=False) if self == Scope() else self.rollups

    @property
    def accounts(self) -> Q:
        """Their accounts."""
        if self.team_pk is not None:
            return Q(team_id=self.team_pk)
        return Q() if self.organization_pk is None else Q(team__organization_id=self.organization_pk)


@dataclass
class Figures:
    """Sums over a span."""

    jobs: int = 0
    completed: int = 0
    failed: int = 0
    credits_used: int = 0
    cost_usd: Decimal = Decimal(0)
    tokens: int = 0
    latency_buckets: list[int] = field(default_factory=lambda: [0] * len(_BUCKETS))
    #: At the end of the span.
    credits_left: int = 0

    @property
    def success_percent(self) -> Decimal | None:
        """Of the jobs that have ended; None where none has."""
        ended = self.completed + self.failed
        return Decimal(self.completed * 100) / ended if ended else None

    @property
    def p95_ms(self) -> int | None:
        """Of the calls, as their clients waited for them."""
        return quantile_ms(self.latency_buckets, 0.95)

    @property
    def margin_usd(self) -> Decimal:
        """What the used credits are worth, less what the calls cost."""
        return self.credits_used * settings.CREDIT_PRICE_USD - self.cost_usd


@dataclass
class Dashboard:
    """All of it. The keys of what is by day are days, or days and what is written with them."""

    span: Span
    now: Figures = field(default_factory=Figures)
    before: Figures = field(default_factory=Figures)
    jobs: Counter[tuple[date, str]] = field(default_factory=Counter)
    costs_usd: dict[tuple[date, str], Decimal] = field(default_factory=dict)
    credits_used: Counter[date] = field(default_factory=Counter)
    credits_added: Counter[date] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    top_teams: Sequence[tuple[str, int]] = ()
    top_job_types: Sequence[tuple[str, int]] = ()

    @cached_property
    def models(self) -> list[str]:
        """The models that were asked, the most expensive first."""
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for (_, model), cost_usd in self.costs_usd.items():
            sums[model] += cost_usd
        return sorted(sums, key=lambda model: (-sums[model], model))

    def cost_usd_of(self, day: date) -> Decimal:
        """Of all models."""
        return sum((self.costs_usd.get((day, model), Decimal(0)) for model in self.models), Decimal(0))

    def margin_usd_of(self, day: date) -> Decimal:
        """As of the whole span."""
        return self.credits_used[day] * settings.CREDIT_PRICE_USD - self.cost_usd_of(day)

    def figures_of(self, day: date) -> Figures:
        """The sum that a day belongs to."""
        return self.now if day in self.span else self.before


def read_dashboard(*, scope: Scope, span: Span) -> Dashboard:
    """Six queries, however much there is."""
    board = Dashboard(span)
    _read_jobs(board, scope)
    _read_calls(board, scope)
    _read_models(board, scope)
    _read_credits(board, scope)
    _read_the_most(board, scope)
    return board


def _rows(manager: Manager[_Row], scope: Scope, span: Span) -> QuerySet[_Row]:
    """Of the span and of the one before it."""
    return manager.filter(scope.rollups, day__gte=span.before.first, day__lte=span.last).order_by()


def _read_jobs(board: Dashboard, scope: Scope) -> None:
    rows = _rows(JobDay.objects, scope, board.span).values_list("day", "status").annotate(sum=Sum("jobs"))
    for day, status, count in rows:
        figures = board.figures_of(day)
        figures.jobs += count
        figures.completed += count if status == "completed" else 0
        figures.failed += count if status == "failed" else 0
        if day in board.span:
            board.jobs[day, status] += count


def _read_calls(board: Dashboard, scope: Scope) -> None:
    is_now = Case(When(day__gte=board.span.first, then=Value(True)), default=Value(False), output_field=BooleanField())
    sums: dict[str, Any] = {name: Sum(f"latency_buckets__{number}") for number, name in enumerate(_BUCKETS)}
    days = _rows(CallDay.objects, scope, board.span).annotate(is_now=is_now).values("is_now", "state", "cause")
    rows: Any = days.annotate(sum=Sum("calls"), **sums)
    for row in rows:
        figures = board.now if row["is_now"] else board.before
        figures.latency_buckets = [
            count + row[name] for count, name in zip(figures.latency_buckets, _BUCKETS, strict=True)
        ]
        if row["is_now"] and row["cause"]:
            board.causes[row["cause"]] += row["sum"]


def _read_models(board: Dashboard, scope: Scope) -> None:
    rows = _rows(ModelDay.objects, scope, board.span).values_list("day", "model_name")
    for day, model, cost_usd, tokens in rows.annotate(
        cost=Sum("cost_usd"), tokens=Sum(F("prompt_tokens") + F("completion_tokens"))
    ):
        figures = board.figures_of(day)
        figures.cost_usd += cost_usd
        figures.tokens += tokens
        if day in board.span:
            board.costs_usd[day, model] = cost_usd


def _read_credits(board: Dashboard, scope: Scope) -> None:
    """Also what was left: what is left now, less what has changed since."""
    left = CreditAccount.objects.filter(scope.accounts).aggregate(sum=Sum(F("allocated") - F("used")))["sum"] or 0
    board.now.credits_left = board.before.credits_left = left
    days = CreditDay.objects.filter(scope.rollups, day__gte=board.span.before.first).order_by()
    for day, used, added, removed in days.values_list("day").annotate(Sum("used"), Sum("added"), Sum("removed")):
        if day >= board.span.first:
            board.before.credits_left -= added - used - removed
        if day > board.span.last:
            board.now.credits_left -= added - used - removed
            continue
        board.figures_of(day).credits_used += used
        if day in board.span:
            board.credits_used[day] += used
            board.credits_added[day] += added


def _read_the_most(board: Dashboard, scope: Scope) -> None:
    """Both lists in one query."""
    in_span = Q(day__gte=board.span.first, day__lte=board.span.last)
    teams = (
        CreditDay.objects.filter(scope.rollups_by_team, in_span)
        .order_by()
        .values_list(Value("team"), "team__team_id")
        .annotate(sum=Sum("used"))
        .filter(sum__gt=0)
        .order_by("-sum", "team__team_id")[:MOST]
    )
    job_types = (
        JobDay.objects.filter(scope.rollups, in_span)
        .order_by()
        .values_list(Value("type"), "job_type")
        .annotate(sum=Sum("jobs"))
        .order_by("-sum", "job_type")[:MOST]
    )
    rows = sorted(teams.union(job_types, all=True), key=lambda row: (-row[2], row[1]))
    board.top_teams = [(name, count) for kind, name, count in rows if kind == "team"]
    board.top_job_types = [(name, count) for kind, name, count in rows if kind == "type"]
