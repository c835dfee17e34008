"""A URL that is told of a team's or an organization's events."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from tenancy.models.organization import Organization
from tenancy.models.team import Team


class WebhookEndpoint(models.Model):
    """It belongs to one team, or to an organization and so to all its teams.

    The secrets are encrypted (`config.foundation.encryption`), because signing needs them. One worker at a time
    delivers to an endpoint: the lease says which, and until when nobody else may.
    """

    class State(models.TextChoices):
        """A disabled endpoint is sent nothing, and nothing is written down for it."""

        ACTIVE = "active"
        DISABLED = "disabled"

    class Reason(models.TextChoices):
        """Why it is disabled."""

        #: Its owner or an operator said so.
        REQUESTED = "requested"
        #: The receiver answered 410 Gone.
        GONE = "gone"
        #: Nothing but failures for settings.WEBHOOK_DISABLE_AFTER_S.
        FAILING = "failing"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, null=True, blank=True, on_delete=models.PROTECT, related_name="webhook_endpoints")
    organization = models.ForeignKey(
        Organization, null=True, blank=True, on_delete=models.PROTECT, related_name="webhook_endpoints"
    )
    url = models.CharField(max_length=2048)
    description = models.CharField(max_length=255, blank=True)
    #: Empty for all of them.
    event_types = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    secret_encrypted = models.BinaryField()
    #: Set by rotation: until then, events are signed with both secrets.
    previous_secret_encrypted = models.BinaryField(null=True, blank=True)
    previous_secret_until = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.ACTIVE)
    disabled_reason = models.CharField(max_length=16, choices=Reason.choices, blank=True)
    #: The first failure since the last success.
    failing_since = models.DateTimeField(null=True, blank=True)
    consecutive_failures = models.PositiveIntegerField(default=0)
    #: A failing endpoint is left alone until then, whatever is due for it.
    resume_at = models.DateTimeField(null=True, blank=True)
    lease_id = models.UUIDField(null=True, blank=True, editable=False)
    leased_until = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(
                name="webhook_endpoint_has_one_owner",
                condition=Q(team=None, organization__isnull=False) | Q(team__isnull=False, organization=None),
            ),
            models.CheckConstraint(
                name="webhook_endpoint_is_active_or_says_why_not",
                condition=Q(state="active", disabled_reason="")
                | Q(state="disabled", disabled_reason__in=["requested", "gone", "failing"]),
            ),
            models.CheckConstraint(
                name="webhook_endpoint_previous_secret_ends",
                condition=Q(previous_secret_encrypted=None, previous_secret_until=None)
                | Q(previous_secret_encrypted__isnull=False, previous_secret_until__isnull=False),
            ),
            models.CheckConstraint(
                name="webhook_endpoint_is_leased_or_free",
                condition=Q(lease_id=None, leased_until=None) | Q(lease_id__isnull=False, leased_until__isnull=False),
            ),
            models.CheckConstraint(
                name="webhook_endpoint_fails_or_does_not",
                condition=Q(failing_since=None, consecutive_failures=0, resume_at=None)
                | Q(failing_since__isnull=False, consecutive_failures__gt=0, resume_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.url
