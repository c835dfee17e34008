"""One immutable line of a team's ledger."""

import uuid

from django.db import models
from django.db.models import Q

from billing.models.credit_account import CreditAccount
from billing.models.credit_grant import CreditGrant
from billing.models.credit_hold import CreditHold


class LedgerEntry(models.Model):
    """`amount` is signed, in whole credits: what the entry did to the balance.

    `sequence` (gapless, per account), `balance_after` and `digest` are set by the trigger that posts the entry. Nothing
    updates or deletes an entry: a correction is a further one. An entry of a positive amount makes a CreditGrant, one
    of a negative amount draws on grants (GrantDraw).
    """

    class Kind(models.TextChoices):
        """What the entry is about."""

        ALLOCATION = "allocation"
        DEDUCTION = "deduction"
        ADJUSTMENT = "adjustment"
        #: The remainder of a grant whose time is over, written off.
        EXPIRY = "expiry"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    #: Its index is `entries_of_account`.
    account = models.ForeignKey(CreditAccount, on_delete=models.PROTECT, related_name="entries", db_index=False)
    sequence = models.BigIntegerField(default=0, editable=False)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    amount = models.BigIntegerField()
    balance_after = models.BigIntegerField(default=0, editable=False)
    reason = models.CharField(max_length=1024, blank=True)
    job_id = models.UUIDField(null=True, blank=True)
    hold = models.ForeignKey(CreditHold, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    #: The terms of the grant that the entry makes; null where it makes none.
    grant_kind = models.CharField(max_length=16, choices=CreditGrant.Kind.choices, null=True, blank=True)  # noqa: DJ001
    grant_priority = models.SmallIntegerField(null=True, blank=True)
    grant_expires_at = models.DateTimeField(null=True, blank=True)
    #: Of an expiry: the grant that is written off. Few entries have one, so an index would only cost.
    expired_grant = models.ForeignKey(
        CreditGrant, null=True, blank=True, on_delete=models.PROTECT, related_name="expiries", db_index=False
    )
    metadata = models.JSONField(default=dict, blank=True)
    #: Who caused it: a principal's scope ("operator:<uuid>", "team:<uuid>", "open") or a process ("sweeper").
    actor = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    #: SHA-256 over all of the above and the digest of the account's entry before (set by trigger; docs/adr/0030).
    digest = models.BinaryField(editable=False)

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
                condition=Q(kind="allocation", amount__gt=0, hold=None, expired_grant=None)
                | Q(kind="deduction", amount__lt=0, hold__isnull=False, job_id__isnull=False, expired_grant=None)
                | (Q(kind="adjustment", hold=None, expired_grant=None) & ~Q(amount=0))
                | Q(kind="expiry", amount__lt=0, hold=None, expired_grant__isnull=False),
            ),
            models.CheckConstraint(
                name="ledger_entry_has_terms_if_it_grants",
                condition=Q(amount__gt=0, grant_kind__isnull=False, grant_priority__isnull=False)
                | Q(amount__lte=0, grant_kind=None, grant_priority=None, grant_expires_at=None),
            ),
        ]
        indexes = [
            models.Index(fields=["account", "created_at"], name="entries_of_account"),
            models.Index(fields=["created_at", "sequence"], name="entries_in_order"),
            # Few are about anything but a job.
            models.Index(
                fields=["kind", "created_at", "sequence"], condition=~Q(kind="deduction"), name="entries_but_deductions"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount:+d}"
