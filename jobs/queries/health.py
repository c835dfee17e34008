"""How models do: their last attempts, whoever's calls they were for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Avg, Count, Q
from django.utils import timezone

from jobs.models import Attempt

#: An index over all attempts is read for it, so it is short.
WINDOW = timedelta(hours=1)
MOST_ERRORS = 20


@dataclass(frozen=True)
class ModelHealth:
    """Of one model's name, over WINDOW. `latency_ms` is the mean of the answers."""

    attempts: int = 0
    failed: int = 0
    latency_ms: int | None = None

    @property
    def failed_percent(self) -> int:
        """Whole percents."""
        return round(100 * self.failed / self.attempts) if self.attempts else 0


def health_of(model_names: Sequence[str]) -> Mapping[str, ModelHealth]:
    """By name; those that nobody asked are not in it."""
    is_failed = Q(outcome=Attempt.Outcome.FAILED)
    recent = Attempt.objects.filter(started_at__gte=timezone.now() - WINDOW, model_name__in=model_names)
    rows = (
        recent.order_by()
        .values("model_name")
        .annotate(
            attempts=Count("id"),
            failed=Count("id", filter=is_failed),
            latency=Avg("latency_ms", filter=~is_failed),
        )
    )
    return {
        row["model_name"]: ModelHealth(
            attempts=row["attempts"],
            failed=row["failed"],
            latency_ms=None if row["latency"] is None else round(row["latency"]),
        )
        for row in rows
    }


def last_errors(model_names: Sequence[str]) -> list[Attempt]:
    """The last failed attempts within WINDOW, newest first."""
    failed = Attempt.objects.filter(
        started_at__gte=timezone.now() - WINDOW, model_name__in=model_names, outcome=Attempt.Outcome.FAILED
    )
    return list(failed.order_by("-started_at")[:MOST_ERRORS])
