"""What was used in a period: jobs by type and status, their cost and tokens."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from billing.models import CreditHold
from config.foundation.errors import InvalidInput
from jobs.models import Call, Job

PERIOD_RULE = "must be YYYY-MM or YYYY-MM-DD"
_PERIOD = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?")


@dataclass(frozen=True)
class Period:
    """A month or a day in UTC, from `start` up to but not including `end`."""

    name: str
    start: datetime
    end: datetime

    @property
    def first_day(self) -> date:
        """In UTC, as the next."""
        return self.start.date()

    @property
    def last_day(self) -> date:
        """Still part of it."""
        return (self.end - timedelta(days=1)).date()


def parse_period(text: str | None, *, now: datetime) -> Period:
    """The period that a client names; the current month where it names none. Raises InvalidInput."""
    if text is None:
        text = f"{now:%Y-%m}"
    if not _PERIOD.fullmatch(text):
        raise InvalidInput(PERIOD_RULE, field="period")
    is_month = len(text) == len("YYYY-MM")
    try:
        start = datetime.strptime(text, "%Y-%m" if is_month else "%Y-%m-%d").replace(tzinfo=UTC)
        # The 28th plus four days is in the next month, whatever the month.
        end = (start.replace(day=28) + timedelta(days=4)).replace(day=1) if is_month else start + timedelta(days=1)
    except (ValueError, OverflowError):
        raise InvalidInput(PERIOD_RULE, field="period") from None
    return Period(text, start, end)


@dataclass
class Totals:
    """Sums over a set of jobs."""

    total_jobs: int = 0
    successful_jobs: int = 0
    failed_jobs: int = 0
    total_cost_usd: Decimal = Decimal(0)
    total_tokens: int = 0

    @property
    def avg_cost_per_job(self) -> Decimal:
        """Rounded to six decimals, because it is only ever printed."""
        return round(self.total_cost_usd / self.total_jobs, 6) if self.total_jobs else Decimal(0)


@dataclass
class DirectTotals:
    """Sums over calls without a job. They are in no job's figures."""

    calls: int = 0
    successful_calls: int = 0
    failed_calls: int = 0
    cost_usd: Decimal = Decimal(0)
    tokens: int = 0


@dataclass
class Usage:
    """A period's jobs (those created in it): all together, and by each value of one column. And its direct calls."""

    summary: Totals = field(default_factory=Totals)
    direct: DirectTotals = field(default_factory=DirectTotals)
    credits_used: int = 0
    job_types: dict[str, Totals] = field(default_factory=dict)
    teams: dict[str, Totals] = field(default_factory=dict)


@dataclass
class UserUsage:
    """A period's use of one user. Unlike a team's, it goes by his calls: one in another's job that names him is his."""

    usage: Usage
    #: In jobs and direct.
    calls: int


def team_usage(*, team_pk: int, period: Period) -> Usage:
    """What one team used."""
    return _usage(Q(team_id=team_pk), period, calls_in_jobs=None)


def organization_usage(*, organization_pk: int, period: Period) -> Usage:
    """What an organization's teams used."""
    return _usage(Q(team__organization_id=organization_pk), period, calls_in_jobs=None)


def user_usage(*, user_pk: int, period: Period) -> UserUsage:
    """What one of a team's users used."""
    # A call is younger than its job, so the index on a user's calls serves, too.
    his = Call.objects.filter(team_user_id=user_pk, created_at__gte=period.start)
    in_jobs = his.filter(job__created_at__gte=period.start, job__created_at__lt=period.end)
    usage = _usage(Q(team_user_id=user_pk), period, calls_in_jobs=in_jobs)
    return UserUsage(usage, in_jobs.count() + usage.direct.calls)


def _usage(whose: Q, period: Period, *, calls_in_jobs: QuerySet[Call] | None) -> Usage:
    """`calls_in_jobs` None: those of the jobs."""
    jobs = Job.objects.filter(whose, created_at__gte=period.start, created_at__lt=period.end)
    usage = Usage()
    counts = jobs.order_by().values("job_type", "team__team_id", "status").annotate(count=Count("id"))
    for row in counts:
        for totals in _buckets(usage, row["job_type"], row["team__team_id"]):
            totals.total_jobs += row["count"]
            totals.successful_jobs += row["count"] if row["status"] == Job.Status.COMPLETED else 0
            totals.failed_jobs += row["count"] if row["status"] == Job.Status.FAILED else 0
    for sums in _call_sums(Call.objects.filter(job__in=jobs) if calls_in_jobs is None else calls_in_jobs):
        for totals in _buckets(usage, sums["job__job_type"], sums["job__team__team_id"]):
            totals.total_cost_usd += sums["cost_usd"]
            totals.total_tokens += sums["prompt"] + sums["completion"]
    usage.direct = _direct(
        Call.objects.filter(whose, job=None, created_at__gte=period.start, created_at__lt=period.end)
    )
    captured = CreditHold.objects.filter(job_id__in=jobs.values("id"), state=CreditHold.State.CAPTURED)
    usage.credits_used = captured.aggregate(sum=Sum("amount"))["sum"] or 0
    return usage


def _direct(calls: QuerySet[Call]) -> DirectTotals:
    sums = calls.order_by().aggregate(
        calls=Count("id"),
        successful_calls=Count("id", filter=Q(state=Call.State.SUCCEEDED)),
        failed_calls=Count("id", filter=Q(state__in=[Call.State.FAILED, Call.State.INTERRUPTED])),
        cost_usd=Coalesce(Sum("cost_usd"), Decimal(0)),
        tokens=Coalesce(Sum(F("prompt_tokens") + F("completion_tokens")), 0),
    )
    return DirectTotals(**sums)


def _call_sums(calls: QuerySet[Call]) -> Iterable[Mapping[str, Any]]:
    return (
        calls.order_by()
        .values("job__job_type", "job__team__team_id")
        .annotate(cost_usd=Sum("cost_usd"), prompt=Sum("prompt_tokens"), completion=Sum("completion_tokens"))
    )


def _buckets(usage: Usage, job_type: str, team_id: str) -> tuple[Totals, Totals, Totals]:
    by_type = usage.job_types.setdefault(job_type, Totals())
    return usage.summary, by_type, usage.teams.setdefault(team_id, Totals())
