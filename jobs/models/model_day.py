"""A day's attempts."""

from django.db import models

from jobs.models.day_rollup import DayRollup, latency_buckets


class ModelDay(DayRollup):
    """The attempts that were started on that day, by model. Costs nobody knows are not in the sum."""

    model_name = models.CharField(max_length=255)
    attempts = models.BigIntegerField()
    failures = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    cost_usd = models.DecimalField(max_digits=26, decimal_places=12)
    latency_buckets = latency_buckets()

    class Meta(DayRollup.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["team", "day", "model_name"], nulls_distinct=False, name="one_model_day_per_model"
            ),
        ]
        indexes = [models.Index(fields=["day"], name="model_days_by_day")]
