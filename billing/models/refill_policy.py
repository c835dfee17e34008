"""When and how far a team's credits are refilled without anybody asking."""

from django.db import models
from django.db.models import F, Q

from billing.models.credit_account import CreditAccount


class RefillPolicy(models.Model):
    """At most one per account. A trigger shows on the account, as `auto_refill`, whether it is enabled."""

    class Every(models.TextChoices):
        """When: at the start of each period (UTC; weeks start on Monday), or when too little is available."""

        DAY = "day"
        WEEK = "week"
        MONTH = "month"
        BELOW = "below"

    account = models.OneToOneField(
        CreditAccount, on_delete=models.PROTECT, primary_key=True, related_name="refill_policy"
    )
    is_enabled = models.BooleanField(default=True)
    every = models.CharField(max_length=8, choices=Every.choices)
    #: Fewer available credits than this are too little.
    below = models.BigIntegerField(null=True, blank=True)
    #: Either so many credits are added each time, or what is missing from `fill_to` available credits.
    amount = models.BigIntegerField(null=True, blank=True)
    fill_to = models.BigIntegerField(null=True, blank=True)
    #: The most that the policy adds in a calendar month (UTC).
    max_per_month = models.BigIntegerField(null=True, blank=True)
    #: The first period is the one that this falls into; moved when the policy is enabled or its periods change.
    active_from = models.DateTimeField()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "refill policies"
        constraints = [
            models.CheckConstraint(
                name="refill_policy_period_is_known", condition=Q(every__in=["day", "week", "month", "below"])
            ),
            models.CheckConstraint(
                name="refill_policy_has_a_threshold_if_it_needs_one",
                # A comparison with null would be neither true nor false, and so pass.
                condition=Q(every="below", below__isnull=False, below__gt=0) | (~Q(every="below") & Q(below=None)),
            ),
            models.CheckConstraint(
                name="refill_policy_adds_or_fills_up",
                condition=Q(amount__isnull=False, amount__gt=0, fill_to=None)
                | Q(amount=None, fill_to__isnull=False, fill_to__gt=0),
            ),
            models.CheckConstraint(
                name="refill_policy_fills_beyond_its_threshold",
                condition=Q(below=None) | Q(fill_to=None) | Q(fill_to__gte=F("below")),
            ),
            models.CheckConstraint(
                name="refill_policy_cap_is_positive", condition=Q(max_per_month=None) | Q(max_per_month__gt=0)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.every}: " + (f"+{self.amount}" if self.amount else f"up to {self.fill_to}")
