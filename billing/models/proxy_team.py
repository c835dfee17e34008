"""What LiteLLM Proxy has to learn about a team, and what it knows already."""

from django.db import models
from django.db.models import F, Q

from tenancy.models import Team


class ProxyTeam(models.Model):
    """One per team, made and marked by triggers (migration proxy_marks): nobody can change a team and forget it.

    What the proxy should look like follows from our own tables at any time, so a change only has to say that there
    was one: it raises `wanted_version` in its own transaction. A worker reads the version, then the tables, brings
    the proxy there and writes the version down as `synced_version`.
    """

    team = models.OneToOneField(Team, on_delete=models.CASCADE, primary_key=True, related_name="proxy_team")
    wanted_version = models.BigIntegerField(default=1, editable=False)
    synced_version = models.BigIntegerField(default=0, editable=False)
    synced_at = models.DateTimeField(null=True, blank=True)
    #: Tries since the last that succeeded, why the last one failed, and when the next one is due.
    failures = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)
    next_try_at = models.DateTimeField()
    #: A call was refused there as if the proxy did not know the team: somebody has to look.
    is_suspect = models.BooleanField(default=False)
    #: When a key of the team expires, which no transaction of ours will tell.
    due_at = models.DateTimeField(null=True, blank=True)
    #: Whose turn it is; a worker that died leaves it to the next one once it is over.
    lease = models.UUIDField(null=True, blank=True, editable=False)
    leased_until = models.DateTimeField(null=True, blank=True)
    #: The key with which our own workers call the proxy for this team, held to the team's budget there.
    platform_key_encrypted = models.BinaryField(null=True)

    class Meta:
        ordering = ["team_id"]
        indexes = [
            models.Index(
                fields=["next_try_at"],
                condition=Q(wanted_version__gt=F("synced_version")) | Q(is_suspect=True),
                name="proxy_teams_to_sync",
            ),
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="proxy_teams_due"),
        ]
        constraints = [
            models.CheckConstraint(
                name="proxy_team_is_not_ahead",
                condition=Q(synced_version__gte=0, synced_version__lte=F("wanted_version")),
            ),
            models.CheckConstraint(
                name="proxy_team_lease_has_an_end", condition=Q(lease__isnull=True) | Q(leased_until__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.team_id}: {self.synced_version} of {self.wanted_version}"

    @property
    def is_in_step(self) -> bool:
        """Whether the proxy has learnt of every change."""
        return self.synced_version == self.wanted_version
