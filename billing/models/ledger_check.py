"""One run of verify_ledger, and what it found."""

from django.db import models
from django.db.models import F, Q


class LedgerCheck(models.Model):
    """`breaches` lists {"rule", "count", "examples"} of the rules that did not hold; empty: the books are sound."""

    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    #: Ledger entries that were looked at.
    entries = models.BigIntegerField()
    breaches = models.JSONField(default=list, blank=True)
    #: Who asked for it: "beat", "command", or a user of the admin.
    actor = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["-started_at"]
        constraints = [
            models.CheckConstraint(name="ledger_check_ends_after_its_start", condition=Q(ended_at__gte=F("started_at")))
        ]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M}: {'sound' if self.is_sound else 'BROKEN'}"

    @property
    def is_sound(self) -> bool:
        """Whether every rule held."""
        return not self.breaches
