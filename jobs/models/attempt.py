"""One try of one model for a call."""

from django.db import models
from django.db.models import Q

from jobs.models.call import Call


class Attempt(models.Model):
    """Operators see it; teams do not, because it names the model."""

    class Outcome(models.TextChoices):
        """How it ended."""

        SUCCEEDED = "succeeded"
        FAILED = "failed"

    #: Its index is that of `attempt_sequence_is_unique`.
    call = models.ForeignKey(Call, on_delete=models.PROTECT, related_name="attempts", db_index=False)
    sequence = models.PositiveSmallIntegerField()
    model_name = models.CharField(max_length=255)
    outcome = models.CharField(max_length=16, choices=Outcome.choices)
    cause = models.CharField(max_length=32, blank=True)
    error_class = models.CharField(max_length=128, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    latency_ms = models.IntegerField()
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    #: Null where nobody knows the price: unknown is not zero.
    cost_usd = models.DecimalField(max_digits=20, decimal_places=12, null=True, blank=True)
    #: The provider did not say how many tokens it took: a stream was cut, for instance.
    usage_is_estimated = models.BooleanField(default=False)
    started_at = models.DateTimeField()

    class Meta:
        ordering = ["call", "sequence"]
        constraints = [
            models.UniqueConstraint(fields=["call", "sequence"], name="attempt_sequence_is_unique"),
            models.CheckConstraint(name="attempt_outcome_is_known", condition=Q(outcome__in=["succeeded", "failed"])),
            models.CheckConstraint(name="failed_attempt_has_a_cause", condition=~Q(outcome="failed", cause="")),
            models.CheckConstraint(
                name="attempt_cost_is_not_negative", condition=Q(cost_usd=None) | Q(cost_usd__gte=0)
            ),
        ]
        indexes = [
            # The console's lists, rollups, and alerts, which look at the last minutes.
            models.Index(fields=["started_at", "id"], name="attempts_in_order"),
            models.Index(fields=["model_name", "started_at"], name="attempts_of_model"),
            models.Index(fields=["started_at", "id"], condition=~Q(cause=""), name="failed_attempts"),
            models.Index(fields=["cause", "started_at"], condition=~Q(cause=""), name="attempts_by_cause"),
        ]

    def __str__(self) -> str:
        return f"{self.sequence}. {self.model_name}: {self.outcome}"
