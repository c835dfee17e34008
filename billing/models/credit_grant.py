"""Where a team's credits came from, and what is left of each such grant."""

import uuid

from django.db import models
from django.db.models import F, Q

from billing.models.credit_account import CreditAccount

#: Of a grant that nobody gave one; a smaller number is drawn on earlier.
DEFAULT_PRIORITY = 100


class CreditGrant(models.Model):
    """Made by the trigger that posts an entry of a positive amount, drawn on by those of a negative one.

    Drawn on in the order of priority, then of expiry (soonest first, never last), then of age. `expires_at` takes
    effect when the remainder is written off (billing.services.expiry; docs/adr/0031).
    """

    class Kind(models.TextChoices):
        """Why the credits were given. A refill never goes beyond the account's credit limit."""

        PURCHASE = "purchase"
        PROMOTION = "promotion"
        REFILL = "refill"
        ADJUSTMENT = "adjustment"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(CreditAccount, on_delete=models.PROTECT, related_name="grants", db_index=False)
    #: Written before the entry itself is, by the trigger that posts it: a foreign key would have to look later, and
    #: would fail under SET CONSTRAINTS ALL IMMEDIATE. verify_ledger compares both sides.
    entry = models.OneToOneField(
        "billing.LedgerEntry", on_delete=models.PROTECT, related_name="granted", db_constraint=False
    )
    #: The entry's, and so the grant's age.
    sequence = models.BigIntegerField()
    kind = models.CharField(max_length=16, choices=Kind.choices)
    amount = models.BigIntegerField()
    remaining = models.BigIntegerField()
    #: remaining = 0, as a column of its own: the index below then stays as it is while the remainder shrinks.
    is_spent = models.BooleanField(default=False)
    priority = models.SmallIntegerField(default=DEFAULT_PRIORITY)
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at", "-sequence"]
        constraints = [
            models.UniqueConstraint(fields=["account", "sequence"], name="grant_sequence_is_unique"),
            models.CheckConstraint(
                name="grant_kind_is_known",
                condition=Q(kind__in=["purchase", "promotion", "refill", "adjustment"]),
            ),
            models.CheckConstraint(name="grant_amount_is_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(
                name="grant_expires_after_it_is_made",
                condition=Q(expires_at=None) | Q(expires_at__gt=F("created_at")),
            ),
            models.CheckConstraint(
                name="grant_covers_its_draws", condition=Q(remaining__gte=0, remaining__lte=F("amount"))
            ),
            models.CheckConstraint(
                name="grant_is_spent_when_nothing_remains",
                condition=Q(remaining=0, is_spent=True) | (~Q(remaining=0) & Q(is_spent=False)),
            ),
        ]
        indexes = [
            models.Index(
                F("account"),
                F("priority"),
                F("expires_at").asc(nulls_last=True),
                F("sequence"),
                condition=Q(is_spent=False),
                name="grants_in_the_order_of_use",
            ),
            models.Index(fields=["expires_at"], condition=Q(is_spent=False), name="grants_by_expiry"),
            models.Index(fields=["created_at", "sequence"], name="grants_in_order"),
            models.Index(fields=["kind", "created_at"], name="grants_of_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.remaining} of {self.amount} ({self.kind})"
