"""What a team has spent at providers, and what its open calls may still cost."""

from django.db import models
from django.db.models import Q

from tenancy.models import Team


class TeamBudget(models.Model):
    """Derived from the team's calls by triggers alone (jobs' migration budget_rules), as accounts are from entries.

    The limit is not here: it follows from the credits allocated (`billing.queries.balances.budget_usd`). Not part of
    the account, because a call that moves it must not wait for a job that moves the account (docs/adr/0061).
    """

    team = models.OneToOneField(Team, on_delete=models.PROTECT, primary_key=True, related_name="budget")
    #: The cost of all calls.
    spent_usd = models.DecimalField(max_digits=24, decimal_places=12, default=0, editable=False)
    #: What the calls that have not ended were estimated at.
    reserved_usd = models.DecimalField(max_digits=24, decimal_places=12, default=0, editable=False)

    class Meta:
        ordering = ["team_id"]
        constraints = [
            models.CheckConstraint(name="budget_is_not_negative", condition=Q(spent_usd__gte=0, reserved_usd__gte=0)),
        ]

    def __str__(self) -> str:
        return str(self.team)
