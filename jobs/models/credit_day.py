"""A day's ledger entries."""

from django.db import models

from jobs.models.day_rollup import DayRollup


class CreditDay(DayRollup):
    """The entries that were posted on that day, in whole credits: added - used - removed is what the balance did."""

    entries = models.BigIntegerField()
    #: Charged for jobs.
    used = models.BigIntegerField()
    #: Allocations, and corrections upwards.
    added = models.BigIntegerField()
    #: Expired, and corrected downwards.
    removed = models.BigIntegerField()

    class Meta(DayRollup.Meta):
        constraints = [
            models.UniqueConstraint(fields=["team", "day"], nulls_distinct=False, name="one_credit_day_per_team"),
        ]
        indexes = [models.Index(fields=["day"], name="credit_days_by_day")]
