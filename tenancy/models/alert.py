"""Something that somebody should look at, from the moment it began until it is over."""

import uuid

from django.db import models
from django.db.models import Q

from tenancy.models.organization import Organization
from tenancy.models.team import Team


class Alert(models.Model):
    """open → closed. While one is open there is no other of the same rule, subject and threshold: once per crossing."""

    class Rule(models.TextChoices):
        """What is looked at. docs/operations.md has their thresholds."""

        CREDITS_LOW = "credits.low"
        BUDGET_USED = "budget.used"
        JOBS_FAILING = "jobs.failing"
        WEBHOOK_DISABLED = "webhook.disabled"
        #: For operators only: these name models and show margins.
        MODEL_FAILING = "model.failing"
        MARGIN_NEGATIVE = "margin.negative"
        BOOKS_BROKEN = "books.broken"

    class State(models.TextChoices):
        """The second is final."""

        OPEN = "open"
        CLOSED = "closed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    rule = models.CharField(max_length=32, choices=Rule.choices)
    #: A team's id, a model's name, an endpoint's id, a rule of the books.
    subject = models.CharField(max_length=255)
    threshold = models.CharField(max_length=32, blank=True)
    #: Whose it is, where it is somebody's; only operators are told of others.
    team = models.ForeignKey(Team, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    organization = models.ForeignKey(Organization, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    #: The figures as they were when it began.
    data = models.JSONField(default=dict)
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-opened_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "subject", "threshold"], condition=Q(state="open"), name="one_open_alert_per_crossing"
            ),
            models.CheckConstraint(
                name="alert_is_closed_or_open",
                condition=Q(state="open", closed_at=None) | Q(state="closed", closed_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rule} {self.subject} {self.threshold}".strip()
