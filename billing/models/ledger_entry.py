"""One immutable line of a team's ledger."""

import uuid

from django.db import models
from django.db.models import Q

from billing.models.credit_account import CreditAccount
from billing.models.credit_hold import CreditHold


class LedgerEntry(models.Model):
    """`amount` is signed, in whole credits: what the entry did to the balance.

    `sequence` (gapless, per account) and `balance_after` are set by the trigger that posts the entry. Nothing
    updates or deletes an entry: a correction is a further one.
    """

    class Kind(models.TextChoices):
        """What the entry is about."""

        ALLOCATION = "allocation"
        DEDUCTION = "deduction"
        ADJUSTMENT = "adjustment"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(CreditAccount, on_delete=models.PROTECT, related_name="entries")
    sequence = models.BigIntegerField(default=0, editable=False)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    amount = models.BigIntegerField()
    balance_after = models.BigIntegerField(default=0, editable=False)
    reason = models.CharField(max_length=1024, blank=True)
    job_id = models.UUIDField(null=True, blank=True)
    hold = models.ForeignKey(CreditHold, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    metadata = models.JSONField(default=dict, blank=True)
    #: Who caused it: a principal's scope ("operator:<uuid>", "team:<uuid>", "open") or a process ("sweeper").
    actor = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "ledger entries"
        ordering = ["-created_at", "-sequence"]
        constraints = [
            models.UniqueConstraint(fields=["account", "sequence"], name="ledger_sequence_is_unique"),
            models.UniqueConstraint(fields=["job_id"], condition=Q(kind="deduction"), name="one_deduction_per_job"),
            models.UniqueConstraint(fields=["hold"], name="one_entry_per_hold"),
            models.CheckConstraint(name="ledger_balance_is_not_negative", condition=Q(balance_after__gte=0)),
            models.CheckConstraint(
                name="ledger_entry_makes_sense",
                condition=Q(kind="allocation", amount__gt=0, hold=None)
                | Q(kind="deduction", amount__lt=0, hold__isnull=False, job_id__isnull=False)
                | (Q(kind="adjustment", hold=None) & ~Q(amount=0)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount:+d}"
