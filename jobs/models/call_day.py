"""A day's calls."""

from django.db import models

from jobs.models.day_rollup import DayRollup, latency_buckets


class CallDay(DayRollup):
    """The calls that were admitted on that day, by how they ended and why; their latency is what the client waited."""

    state = models.CharField(max_length=16)
    cause = models.CharField(max_length=32, blank=True)
    calls = models.BigIntegerField()
    latency_buckets = latency_buckets()

    class Meta(DayRollup.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["team", "day", "state", "cause"], nulls_distinct=False, name="one_call_day_per_cause"
            ),
        ]
        indexes = [models.Index(fields=["day"], name="call_days_by_day")]
