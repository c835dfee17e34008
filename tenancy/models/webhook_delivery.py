"""One event on its way to one endpoint."""

import uuid

from django.db import models
from django.db.models import Q

from tenancy.models.webhook_endpoint import WebhookEndpoint
from tenancy.models.webhook_event import WebhookEvent


class WebhookDelivery(models.Model):
    """pending → delivered | failed; a replay makes it pending again."""

    class State(models.TextChoices):
        """`failed`: every retry failed."""

        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    event = models.ForeignKey(WebhookEvent, on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=16, choices=State.choices, default=State.PENDING)
    #: Since it was made, or last replayed.
    attempts = models.PositiveIntegerField(default=0)
    #: Null once it is final.
    next_try_at = models.DateTimeField(null=True, blank=True)
    last_attempt_at = models.DateTimeField(null=True, blank=True)
    last_latency_ms = models.PositiveIntegerField(null=True, blank=True)
    #: What the receiver answered; null where it did not.
    last_status = models.PositiveSmallIntegerField(null=True, blank=True)
    #: Why there was no answer: a stable name (tenancy.services.webhooks.sending.Problem).
    last_problem = models.CharField(max_length=32, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-event", "-id"]
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "event"], name="one_webhook_delivery_per_endpoint_and_event"),
            models.CheckConstraint(
                name="webhook_delivery_is_final_or_due",
                condition=Q(state="pending", next_try_at__isnull=False)
                | Q(state__in=["delivered", "failed"], next_try_at=None),
            ),
        ]
        indexes = [
            models.Index(fields=["endpoint", "event"], condition=Q(state="pending"), name="pending_webhook_deliveries"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.endpoint}"
