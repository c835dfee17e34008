"""A mark that a row of a day that is over was written."""

from django.db import models


class LateChange(models.Model):
    """Made by triggers, in the transaction that wrote the row; gone in the one that has rolled the day up again.

    Rows and no counter, so that writers never wait for each other.
    """

    day = models.DateField(db_index=True)
    #: The table.
    origin = models.CharField(max_length=64)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.day}: {self.origin}"
