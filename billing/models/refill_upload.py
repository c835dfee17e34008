"""A CSV file of refills that somebody uploaded in the console, and what became of it."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.models.credit_grant import CreditGrant


class RefillUpload(models.Model):
    """preview → (waiting →) running → done; a preview or a waiting one may be cancelled instead.

    The rows are in the database, because web and worker need not share a disk. The upload's id is that of the form
    it came with, so that a form that is sent twice makes one upload; its batch of refills is named by it (`batch`).
    """

    class State(models.TextChoices):
        """`waiting` is for a second person's approval."""

        PREVIEW = "preview"
        WAITING = "waiting", "waiting for approval"
        RUNNING = "running"
        DONE = "done"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    state = models.CharField(max_length=16, choices=State.choices, default=State.PREVIEW)
    file_name = models.CharField(max_length=255)
    #: SHA-256 of the file in hex, so that the same file's second upload is noticed.
    digest = models.CharField(max_length=64)
    kind = models.CharField(max_length=16, choices=CreditGrant.Kind.choices, default=CreditGrant.Kind.REFILL)
    #: Rows of the file, those of them that can be carried out, and the credits that these add together.
    rows_total = models.PositiveIntegerField()
    rows_valid = models.PositiveIntegerField()
    credits_total = models.BigIntegerField()
    #: More credits than settings.REFILL_APPROVAL_ABOVE_CREDITS, as that was when it was confirmed.
    needs_approval = models.BooleanField(default=False)
    #: Users are kept, so that it stays known who it was: deactivate them instead.
    uploaded_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        permissions = [("approve_refillupload", "Can approve refill uploads of others")]
        indexes = [
            models.Index(fields=["confirmed_at"], condition=Q(state="running"), name="uploads_that_run"),
            models.Index(fields=["digest"], name="uploads_by_digest"),
        ]
        constraints = [
            models.CheckConstraint(
                name="refill_upload_state_is_known",
                condition=Q(state__in=["preview", "waiting", "running", "done", "cancelled"]),
            ),
            models.CheckConstraint(
                name="refill_upload_is_approved_by_another",
                condition=Q(approved_by=None) | ~Q(approved_by=F("uploaded_by")),
            ),
            models.CheckConstraint(
                name="refill_upload_runs_only_with_its_approval",
                condition=Q(needs_approval=False)
                | Q(state__in=["preview", "waiting", "cancelled"])
                | Q(approved_by__isnull=False),
            ),
            models.CheckConstraint(
                name="refill_upload_counts_make_sense",
                condition=Q(rows_valid__lte=F("rows_total"), credits_total__gte=F("rows_valid")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.file_name} ({self.state})"

    @property
    def batch(self) -> str:
        """What its refills have in common."""
        return f"upload:{self.id}"
