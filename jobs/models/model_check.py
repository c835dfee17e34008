"""A test call to one model, asked for by an operator and paid for by no team."""

import uuid

from django.db import models
from django.db.models import Q

from modelgroups.models import GroupModel
from tenancy.models import Organization


class ModelCheck(models.Model):
    """queued → running → succeeded | failed. Neither what was asked nor what was answered is in it."""

    class State(models.TextChoices):
        """The last two are final."""

        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    #: Null once the group has other models. The names outlive it.
    model = models.ForeignKey(GroupModel, null=True, on_delete=models.SET_NULL, related_name="+")
    group_name = models.CharField(max_length=128)
    model_name = models.CharField(max_length=255)
    #: With whose credential it is asked; null: the global one.
    organization = models.ForeignKey(Organization, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    actor = models.CharField(max_length=200)
    state = models.CharField(max_length=16, choices=State.choices, default=State.QUEUED)
    cause = models.CharField(max_length=32, blank=True)
    error_class = models.CharField(max_length=128, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    latency_ms = models.IntegerField(null=True, blank=True)
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    #: Null where nobody knows the price.
    cost_usd = models.DecimalField(max_digits=20, decimal_places=12, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(
                name="model_check_has_ended_or_is_open",
                condition=Q(state__in=["queued", "running"], ended_at=None)
                | Q(state__in=["succeeded", "failed"], ended_at__isnull=False),
            ),
            models.CheckConstraint(name="failed_model_check_has_a_cause", condition=~Q(state="failed", cause="")),
        ]

    def __str__(self) -> str:
        return f"{self.model_name}: {self.state}"

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in (self.State.SUCCEEDED, self.State.FAILED)
