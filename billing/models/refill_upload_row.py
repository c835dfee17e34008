"""One row of an uploaded CSV file of refills."""

from django.db import models
from django.db.models import Q

from billing.models.refill_upload import RefillUpload


class RefillUploadRow(models.Model):
    """As it was read, why it cannot be carried out if it cannot, and what became of it.

    `outcome` is written in the transaction that adds the row's credits.
    """

    class Outcome(models.TextChoices):
        """`invalid` is found before the upload is confirmed, `refused` when it is carried out."""

        PENDING = "pending"
        INVALID = "invalid"
        APPLIED = "applied"
        ALREADY_APPLIED = "already_applied", "already applied"
        REFUSED = "refused"

    upload = models.ForeignKey(RefillUpload, on_delete=models.CASCADE, related_name="rows", db_index=False)
    #: Its place among the upload's rows, from 1, and the line of the file that it ends on.
    position = models.PositiveIntegerField()
    line = models.PositiveIntegerField()
    #: As the file has it: it may be no team's id at all.
    team_id = models.CharField(max_length=160, blank=True)
    #: Which of the team's rows it is, from 1: with the batch, what makes its refill happen once.
    number = models.PositiveIntegerField(default=1)
    amount = models.BigIntegerField(null=True)
    reason = models.CharField(max_length=1024, blank=True)
    outcome = models.CharField(max_length=16, choices=Outcome.choices, default=Outcome.PENDING)
    detail = models.CharField(max_length=255, blank=True)

    class Meta:
        ordering = ["-upload_id", "position"]
        indexes = [models.Index(fields=["upload", "outcome", "position"], name="rows_of_an_upload")]
        constraints = [
            models.UniqueConstraint(fields=["upload", "position"], name="one_upload_row_per_position"),
            models.CheckConstraint(
                name="refill_upload_row_is_valid_or_says_why_not",
                condition=Q(outcome__in=["pending", "applied", "already_applied"], amount__isnull=False, amount__gt=0)
                | (Q(outcome__in=["invalid", "refused"]) & ~Q(detail="")),
            ),
        ]

    def __str__(self) -> str:
        return f"line {self.line}: {self.team_id}"
