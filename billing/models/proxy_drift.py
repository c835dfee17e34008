"""Where LiteLLM Proxy was found to differ from what it should be."""

from django.db import models
from django.db.models import Q

from tenancy.models import Team


class DriftKind(models.TextChoices):
    """What is wrong at the proxy."""

    TEAM_MISSING = "team_missing"
    TEAM_BUDGET = "team_budget"
    TEAM_MODELS = "team_models"
    TEAM_BLOCKED = "team_blocked"
    TEAM_OWNER = "team_owner"
    TEAM_ORPHAN = "team_orphan"
    KEY_MISSING = "key_missing"
    KEY_BUDGET = "key_budget"
    KEY_MODELS = "key_models"
    KEY_BLOCKED = "key_blocked"
    KEY_EXPIRY = "key_expiry"
    KEY_TEAM = "key_team"
    KEY_ROUTES = "key_routes"
    KEY_ORPHAN = "key_orphan"
    #: Made at the proxy by somebody else, in a team of ours: told of, and left alone.
    KEY_FOREIGN = "key_foreign"
    #: Made before a proxy was configured, so that nobody has its text any more: it has to be rotated.
    KEY_UNKNOWN_TEXT = "key_unknown_text"


class ProxyDrift(models.Model):
    """One finding. It is open until it is repaired, or gone by itself, and found once however often it is seen."""

    #: Null for a team that is at the proxy only.
    team = models.ForeignKey(Team, on_delete=models.CASCADE, null=True, blank=True, related_name="proxy_drifts")
    proxy_team_id = models.CharField(max_length=255, blank=True)
    kind = models.CharField(max_length=24, choices=DriftKind.choices)
    #: The key's hash, by which the proxy knows it; empty where it is the team itself.
    subject = models.CharField(max_length=128, blank=True)
    was = models.TextField(blank=True)
    wanted = models.TextField(blank=True)
    found_at = models.DateTimeField(auto_now_add=True, db_index=True)
    last_seen_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-found_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["proxy_team_id", "kind", "subject"],
                condition=Q(resolved_at__isnull=True),
                name="drift_is_open_once",
            ),
            models.CheckConstraint(name="drift_kind_is_known", condition=Q(kind__in=DriftKind.values)),
        ]

    def __str__(self) -> str:
        return f"{self.proxy_team_id}: {self.kind}"
