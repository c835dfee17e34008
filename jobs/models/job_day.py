"""A day's jobs."""

from django.db import models

from jobs.models.day_rollup import DayRollup


class JobDay(DayRollup):
    """The jobs that were created on that day, by their type and by what has become of them."""

    job_type = models.CharField(max_length=128)
    status = models.CharField(max_length=16)
    jobs = models.BigIntegerField()

    class Meta(DayRollup.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["team", "day", "job_type", "status"], nulls_distinct=False, name="one_job_day_per_status"
            ),
        ]
        indexes = [models.Index(fields=["day"], name="job_days_by_day")]
