"""A credit set aside for an open job."""

import uuid

from django.db import models
from django.db.models import Q

from billing.models.credit_account import CreditAccount


class CreditHold(models.Model):
    """held → captured | released | expired, once and for good; the database refuses every other step."""

    class State(models.TextChoices):
        """`held` counts against the account; the others have ended."""

        HELD = "held"
        CAPTURED = "captured"
        RELEASED = "released"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    #: Its index is `holds_of_account`.
    account = models.ForeignKey(CreditAccount, on_delete=models.PROTECT, related_name="holds", db_index=False)
    #: No foreign key: jobs stand above billing, which knows of a job only its id.
    job_id = models.UUIDField()
    amount = models.BigIntegerField(default=1)
    state = models.CharField(max_length=16, choices=State.choices, default=State.HELD)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    #: The account's remaining credits right after the hold ended (set by trigger).
    balance_after = models.BigIntegerField(null=True, blank=True, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job_id"], name="one_hold_per_job"),
            models.CheckConstraint(name="hold_amount_is_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(
                name="hold_state_is_known", condition=Q(state__in=["held", "captured", "released", "expired"])
            ),
            models.CheckConstraint(
                name="hold_has_ended_or_is_held",
                condition=Q(state="held", ended_at=None, balance_after=None)
                | (~Q(state="held") & Q(ended_at__isnull=False, balance_after__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(fields=["account"], condition=Q(state="held"), name="open_holds"),
            models.Index(fields=["account", "created_at"], name="holds_of_account"),
            models.Index(fields=["created_at", "id"], name="holds_in_order"),
            models.Index(fields=["created_at", "id"], condition=Q(state="expired"), name="expired_holds"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.state} for job {self.job_id}"
