"""Which grant an entry took its credits from."""

from django.db import models
from django.db.models import Q

from billing.models.credit_grant import CreditGrant
from billing.models.ledger_entry import LedgerEntry


class GrantDraw(models.Model):
    """Written by the trigger that posts the entry, and never changed. An entry's draws add up to its amount."""

    # Only that trigger inserts rows, with ids that it has in hand, so foreign keys would check nothing and cost two
    # look-ups per deduction. verify_ledger compares both sides all the same.
    entry = models.ForeignKey(
        LedgerEntry, on_delete=models.PROTECT, related_name="draws", db_index=False, db_constraint=False
    )
    grant = models.ForeignKey(CreditGrant, on_delete=models.PROTECT, related_name="draws", db_constraint=False)
    amount = models.BigIntegerField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["entry", "grant"], name="an_entry_draws_on_a_grant_once"),
            models.CheckConstraint(name="draw_amount_is_positive", condition=Q(amount__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.amount} of grant {self.grant_id}"
