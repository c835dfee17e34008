"""A mail about an alert, on its way to one recipient."""

import uuid

from django.db import models
from django.db.models import Q

from tenancy.models.alert import Alert


class AlertMail(models.Model):
    """pending → sent | failed. Written with its alert, and sent afterwards: a crash loses none."""

    class State(models.TextChoices):
        """`failed`: the mail server would not take it, again and again."""

        PENDING = "pending"
        SENT = "sent"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="mails")
    recipient = models.EmailField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    #: Null once it is final. Whoever sends it puts it off first, so that nobody else sends it meanwhile.
    next_try_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-alert__opened_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["alert", "recipient"], name="one_mail_per_alert_and_recipient"),
            models.CheckConstraint(
                name="alert_mail_is_final_or_due",
                condition=Q(state="pending", next_try_at__isnull=False, sent_at=None)
                | Q(state="sent", next_try_at=None, sent_at__isnull=False)
                | Q(state="failed", next_try_at=None, sent_at=None),
            ),
        ]
        indexes = [
            models.Index(fields=["next_try_at"], condition=Q(state="pending"), name="alert_mails_to_send"),
        ]

    def __str__(self) -> str:
        return f"{self.alert} to {self.recipient}"
