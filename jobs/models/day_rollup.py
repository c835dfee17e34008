"""What all rollups have in common: sums over the rows of one day, so that nothing has to read those rows again."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from tenancy.models import Team

#: Upper bounds of the buckets that latencies are counted in, in milliseconds; a last bucket has what is above.
#: Six steps to a power of ten, so that a quantile read from them is off by a quarter at most.
LATENCY_BOUNDS_MS = (
    *(10, 15, 20, 30, 50, 70),
    *(100, 150, 200, 300, 500, 700),
    *(1_000, 1_500, 2_000, 3_000, 5_000, 7_000),
    *(10_000, 15_000, 20_000, 30_000, 50_000, 70_000),
    *(100_000, 150_000, 300_000, 600_000),
)


class DayRollup(models.Model):
    """One day in UTC of one team; without a team, of all teams together.

    Derived: jobs.services.rollups alone writes it, from the rows themselves (docs/adr/0052).
    """

    day = models.DateField()
    #: The rows summed up have the foreign key; a check of it here would only cost.
    team = models.ForeignKey(
        Team, null=True, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )

    class Meta:
        abstract = True
        ordering = ["-day", "-id"]

    def __str__(self) -> str:
        return f"{self.day}, {self.team or 'all teams'}"


def latency_buckets() -> ArrayField:
    """How many there were in each bucket."""
    return ArrayField(models.BigIntegerField(), size=len(LATENCY_BOUNDS_MS) + 1)
