"""One refill that was carried out: the row that makes it happen once."""

from django.db import models
from django.db.models import Q

from billing.models.credit_account import CreditAccount
from billing.models.ledger_entry import LedgerEntry


class Refill(models.Model):
    """Written in the transaction that posts the entry. Whoever repeats the refill meets its unique key.

    `batch` and `row` say which one it is: of a command its batch id, and which of the team's rows in it; of a policy
    the period ("policy:2026-11-01"), or the state of the ledger that was found too low ("below:<sequence>").
    """

    account = models.ForeignKey(CreditAccount, on_delete=models.PROTECT, related_name="refills", db_index=False)
    batch = models.CharField(max_length=140)
    row = models.PositiveIntegerField(default=1)
    #: Whole credits that were added; 0 where the account was full, or the month's cap reached.
    amount = models.BigIntegerField()
    entry = models.OneToOneField(LedgerEntry, null=True, blank=True, on_delete=models.PROTECT, related_name="refill")
    #: By the team's policy, and so under its cap.
    is_automatic = models.BooleanField(default=False)
    #: The first day of the period (UTC) that an automatic refill is for; null below a threshold.
    period_start = models.DateField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "batch", "row"], name="a_refill_is_made_once"),
            models.UniqueConstraint(fields=["account", "period_start"], name="one_refill_per_period"),
            models.CheckConstraint(
                name="refill_has_an_entry_if_it_adds",
                condition=Q(amount=0, entry=None) | Q(amount__gt=0, entry__isnull=False),
            ),
        ]
        indexes = [models.Index(fields=["batch"], name="refills_by_batch")]

    def __str__(self) -> str:
        return f"{self.amount} ({self.batch})"
