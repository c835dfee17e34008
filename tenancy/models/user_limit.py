"""What a team's user may use in a calendar month."""

from django.db import models
from django.db.models import Q

from tenancy.models.team_user import TeamUser


class UserLimit(models.Model):
    """One row per user and kind; no row: no limit. `month`, `taken` and `reserved` are written by triggers only.

    They are a running count (jobs' migration user_rules), which begins with what was used before there was a limit, so
    that a lock on the row decides, and no read before it. Two rows and not two columns of the user's, because they are
    locked at different places among other locks (ADR 64).
    """

    class Kind(models.TextChoices):
        """What is counted, in UTC months."""

        #: Credits that jobs opened in the month hold or were charged.
        CREDITS = "credits"
        #: USD that direct calls made in the month cost.
        DIRECT_COST = "direct_cost"

    user = models.ForeignKey(TeamUser, on_delete=models.CASCADE, related_name="limits", db_index=False)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    #: Credits, or USD.
    amount = models.DecimalField(max_digits=24, decimal_places=12)
    #: The month's first day. The first job or call of another month counts anew.
    month = models.DateField(null=True, blank=True)
    taken = models.DecimalField(max_digits=24, decimal_places=12, default=0, db_default=0)
    #: By calls that run, at what they were estimated at.
    reserved = models.DecimalField(max_digits=24, decimal_places=12, default=0, db_default=0)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["user", "kind"], name="one_user_limit_per_kind"),
            models.CheckConstraint(name="user_limit_kind_is_known", condition=Q(kind__in=["credits", "direct_cost"])),
            models.CheckConstraint(name="user_limit_is_not_negative", condition=Q(amount__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount:f}"
