"""A business operation: what one credit pays for, however many calls it takes."""

import uuid

from django.db import models
from django.db.models import Q

from tenancy.models import Team, TeamUser, VirtualKey


class Job(models.Model):
    """pending → in_progress → completed | failed; the last two are final.

    Whether it was charged is not written here: its hold says so (`billing.models.CreditHold`), in one place.
    """

    class Status(models.TextChoices):
        """The contract's states."""

        PENDING = "pending"
        IN_PROGRESS = "in_progress"
        COMPLETED = "completed"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    #: Its index is `jobs_of_team`.
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="jobs", db_index=False)
    virtual_key = models.ForeignKey(VirtualKey, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    #: The integrating app's own user, as it names him.
    user_id = models.CharField(max_length=128, blank=True)
    #: The same user. Users are never deleted, and whoever inserts it has just read or made him: no check.
    team_user = models.ForeignKey(
        TeamUser, null=True, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    job_type = models.CharField(max_length=128)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.PENDING)
    metadata = models.JSONField(default=dict, blank=True)
    error_message = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    #: From then on the sweeper fails the job, if it is still open.
    expires_at = models.DateTimeField()
    #: It was made for one call (`create-and-call`), and ends with it.
    ends_with_call = models.BooleanField(default=False)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(
                name="job_status_is_known",
                condition=Q(status__in=["pending", "in_progress", "completed", "failed"]),
            ),
            models.CheckConstraint(
                name="job_has_ended_or_is_open",
                condition=Q(status__in=["pending", "in_progress"], ended_at=None)
                | Q(status__in=["completed", "failed"], ended_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["team", "-created_at", "-id"], name="jobs_of_team"),
            # As for open calls, these conditions do not name what the first call changes.
            models.Index(fields=["expires_at"], condition=Q(ended_at=None), name="open_jobs_by_expiry"),
            models.Index(
                fields=["created_at"],
                condition=Q(ended_at=None, ends_with_call=True),
                name="open_jobs_that_end_with_a_call",
            ),
            # The console's list, and alerts, which look at the last minutes.
            models.Index(fields=["created_at", "id"], name="jobs_in_order"),
            models.Index(fields=["job_type", "created_at"], name="jobs_of_type"),
            models.Index(fields=["user_id", "created_at"], condition=~Q(user_id=""), name="jobs_of_user"),
            models.Index(
                fields=["team_user", "created_at", "id"], condition=~Q(team_user=None), name="jobs_of_team_user"
            ),
            # Empty, but for what was written before there were users (jobs.services.old_users).
            models.Index(
                fields=["team", "user_id"], condition=~Q(user_id="") & Q(team_user=None), name="jobs_without_their_user"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job_type} {self.id}"
