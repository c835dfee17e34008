"""The outbox: what happened to a team, written in the transaction in which it happened."""

import uuid
from typing import Any

from django.db import models
from django.db.models.fields.json import KeyTextTransform

from tenancy.models.team import Team


class WebhookEvent(models.Model):
    """Written where an active endpoint subscribes to it, mostly by triggers (`tenancy_emit_event`, migration 0005).

    `id` is the order in which events are delivered, `event_id` what receivers know it by. Its content never changes.
    """

    class Type(models.TextChoices):
        """What there is to be told of (docs/webhooks.md has the data of each)."""

        JOB_COMPLETED = "job.completed"
        JOB_FAILED = "job.failed"
        CALL_COMPLETED = "call.completed"
        CREDITS_LOW = "credits.low"
        CREDITS_REFILLED = "credits.refilled"
        BUDGET_EXHAUSTED = "budget.exhausted"
        ALERT_OPENED = "alert.opened"
        ALERT_CLOSED = "alert.closed"
        TEAM_SUSPENDED = "team.suspended"
        #: Sent by hand, to one endpoint, whatever it subscribes to.
        TEST = "webhook.test"

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(default=uuid.uuid4, editable=False)
    #: Null for a test of an organization's endpoint. Whoever writes an event has just written a row with the same team,
    #: so a second check would only cost.
    team = models.ForeignKey(Team, null=True, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False)
    type = models.CharField(max_length=64, choices=Type.choices)
    data = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)
    #: Its deliveries are there.
    is_dispatched = models.BooleanField(default=False)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["event_id"], name="webhook_event_id_is_unique")]
        indexes = [
            models.Index(fields=["id"], condition=models.Q(is_dispatched=False), name="webhook_events_to_dispatch"),
            models.Index(fields=["created_at"], name="webhook_events_by_age"),
            # To erase what tells of a user (jobs.services.erasure).
            models.Index(KeyTextTransform("job_id", "data"), name="webhook_events_of_job"),
            models.Index(KeyTextTransform("call_id", "data"), name="webhook_events_of_call"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"

    @property
    def payload(self) -> dict[str, Any]:
        """What receivers are sent."""
        return {"type": self.type, "timestamp": self.created_at.isoformat(), "data": self.data}
