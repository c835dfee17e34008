"""A team's balance: derived from its ledger entries and holds by the database itself."""

from django.db import models
from django.db.models import F, Q

from tenancy.models import Team


class CreditAccount(models.Model):
    """All numbers are whole credits.

    `allocated`, `used`, `held` and `last_sequence` are written by triggers alone (migration 0002): posting an
    entry or changing a hold changes them in the same statement, and a direct UPDATE of them is refused.
    """

    team = models.OneToOneField(Team, on_delete=models.PROTECT, primary_key=True, related_name="credit_account")
    allocated = models.BigIntegerField(default=0, editable=False)
    used = models.BigIntegerField(default=0, editable=False)
    held = models.BigIntegerField(default=0, editable=False)
    last_sequence = models.BigIntegerField(default=0, editable=False)
    #: The most that a refill may fill up to; null for no limit.
    credit_limit = models.BigIntegerField(null=True, blank=True)
    auto_refill = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        permissions = [("top_up_creditaccount", "Can top up and correct credits")]
        constraints = [
            models.CheckConstraint(name="account_counts_are_not_negative", condition=Q(allocated__gte=0, used__gte=0)),
            models.CheckConstraint(name="account_held_is_not_negative", condition=Q(held__gte=0)),
            # The rule that makes overselling impossible, whoever writes and however many at once.
            models.CheckConstraint(
                name="account_is_never_overdrawn", condition=Q(held__lte=F("allocated") - F("used"))
            ),
            models.CheckConstraint(
                name="account_credit_limit_is_not_negative", condition=Q(credit_limit=None) | Q(credit_limit__gte=0)
            ),
        ]

    def __str__(self) -> str:
        return str(self.team)

    @property
    def remaining(self) -> int:
        """Allocated minus used: what the guide calls credits_remaining."""
        return self.allocated - self.used

    @property
    def available(self) -> int:
        """Remaining minus held: what a new job can still be opened on."""
        return self.allocated - self.used - self.held
