"""Which days are rolled up, and whether for good."""

from django.db import models


class RollupDay(models.Model):
    """A day is open until no transaction can be left that has written to it unmarked; then only marks reopen it.

    Rows that are written while their day lasts are not marked. Whoever wrote one has a transaction id below
    `closing_xid`, the first that was not yet given out when the day was seen to be over.
    """

    day = models.DateField(primary_key=True)
    closing_xid = models.BigIntegerField(null=True, editable=False)
    is_closed = models.BooleanField(default=False)
    rolled_up_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-day"]

    def __str__(self) -> str:
        return str(self.day)
