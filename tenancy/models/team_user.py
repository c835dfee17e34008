"""A team's own user, as the integrating app names him."""

from django.db import models
from django.db.models import Q

from tenancy.models.team import Team


class TeamUser(models.Model):
    """Made on first sight of a `user_id`. active ⇄ blocked; either → erasing → erased, which is final.

    From the moment in which he is to be erased, `user_id` is a random pseudonym: nothing here says who he was, and the
    same name seen again is another row. Rows are never deleted: jobs and calls refer to them without a check.
    """

    class Status(models.TextChoices):
        """Whether he may, and what is left of him."""

        ACTIVE = "active"
        #: New jobs and calls of his are refused.
        BLOCKED = "blocked"
        #: What was stored of him is being erased.
        ERASING = "erasing"
        ERASED = "erased"

    #: Its index is `users_of_team`.
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="users", db_index=False)
    #: As `tenancy.queries.users.stored_user_id` makes it.
    user_id = models.CharField(max_length=128)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.ACTIVE)
    first_seen_at = models.DateTimeField()
    #: Up to an hour late, so that the hot path seldom writes it.
    last_seen_at = models.DateTimeField()
    erasure_requested_at = models.DateTimeField(null=True, blank=True)
    #: Whatever wrote his name before he got a pseudonym is a transaction before this one.
    erasure_xid = models.BigIntegerField(null=True, editable=False)
    #: How far it has come, where it was stopped; and when it begins anew, where something was open (services.erasure).
    erasure_run = models.JSONField(null=True, editable=False)
    next_erasure_at = models.DateTimeField(null=True, editable=False)
    erased_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        permissions = [("erase_teamuser", "Can erase team user")]
        constraints = [
            models.UniqueConstraint(fields=["team", "user_id"], name="user_id_is_unique_in_its_team"),
            models.CheckConstraint(
                name="team_user_is_erased_or_not",
                condition=Q(status__in=["active", "blocked"], erasure_requested_at=None, erased_at=None)
                | Q(status="erasing", erasure_requested_at__isnull=False, erased_at=None)
                | Q(status="erased", erasure_requested_at__isnull=False, erased_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["team", "-id"], name="users_of_team"),
            # The console's search.
            models.Index(fields=["user_id"], name="users_by_name"),
            models.Index(fields=["id"], condition=Q(status="erasing"), name="users_to_erase"),
        ]

    def __str__(self) -> str:
        return self.user_id
