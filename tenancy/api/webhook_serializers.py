"""Shapes of webhook endpoints and their deliveries."""

from typing import Any
from uuid import UUID

from rest_framework import serializers

from config.foundation.api.fields import ClientIdField, TextField, WholeNumberField
from tenancy.api.serializers import MAX_GRACE_S
from tenancy.models import WebhookDelivery
from tenancy.services.webhooks.endpoints import SUBSCRIBABLE
from tenancy.services.webhooks.sending import MAX_URL_LENGTH

DEFAULT_GRACE_S = 24 * 3600


class _TrueOrFalse(serializers.BooleanField):
    """A boolean that must arrive as one: no texts, no numbers."""

    def to_internal_value(self, data: object) -> bool:
        """The boolean. Raises ValidationError."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class _IdField(serializers.UUIDField):
    """A UUID that must arrive as a text: DRF would make one of any number."""

    def to_internal_value(self, data: object) -> UUID:
        """The UUID. Raises ValidationError."""
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        return UUID(str(super().to_internal_value(data)))


class _EventTypesField(serializers.ListField):
    """Types of events; none means all."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            child=TextField(max_length=64),
            max_length=len(SUBSCRIBABLE),
            help_text=f"Some of {', '.join(sorted(SUBSCRIBABLE))}; empty for all.",
            **kwargs,
        )


class WebhookIn(serializers.Serializer):
    """Make an endpoint: of a team (a team's key: its own), or of an organization."""

    team_id = ClientIdField(required=False)
    organization_id = ClientIdField(required=False)
    url = TextField(max_length=MAX_URL_LENGTH)
    event_types = _EventTypesField(required=False, default=list)
    description = TextField(max_length=255, required=False, allow_blank=True, default="")


class WebhookChangesIn(serializers.Serializer):
    """Change an endpoint; what is left out stays."""

    url = TextField(max_length=MAX_URL_LENGTH, required=False)
    event_types = _EventTypesField(required=False)
    description = TextField(max_length=255, required=False, allow_blank=True)
    is_enabled = _TrueOrFalse(required=False)


class WebhookOut(serializers.Serializer):
    """An endpoint; its secret is never shown again."""

    endpoint_id = serializers.UUIDField(source="id")
    team_id = serializers.CharField(source="team.team_id", allow_null=True, default=None)
    organization_id = serializers.SerializerMethodField()
    url = serializers.CharField()
    description = serializers.CharField()
    event_types = serializers.ListField(child=serializers.CharField())
    state = serializers.CharField()
    disabled_reason = serializers.CharField()
    failing_since = serializers.DateTimeField(allow_null=True)
    previous_secret_until = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def get_organization_id(self, endpoint: object) -> str:
        """The owner's, or the owning team's."""
        owner = getattr(endpoint, "organization", None) or endpoint.team.organization  # type: ignore[attr-defined]
        return str(owner.organization_id)


class NewWebhookOut(WebhookOut):
    """An endpoint with a new secret: this once."""

    secret = serializers.CharField()


class WebhookListOut(serializers.Serializer):
    """The endpoints of a team or an organization."""

    webhooks = WebhookOut(many=True)


class DeletedWebhookOut(serializers.Serializer):
    """It is gone."""

    endpoint_id = serializers.UUIDField()
    deleted = serializers.BooleanField()


class RotateSecretIn(serializers.Serializer):
    """Replace an endpoint's secret."""

    grace_seconds = WholeNumberField(
        min_value=0,
        max_value=MAX_GRACE_S,
        required=False,
        default=DEFAULT_GRACE_S,
        help_text="How long events are signed with the old secret, too.",
    )


class ReplayIn(serializers.Serializer):
    """Deliver once more: one event, or all that failed."""

    event_id = _IdField(required=False)
    failed_since = serializers.DateTimeField(required=False)

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        """Exactly one of them."""
        if len(attrs) != 1:
            raise serializers.ValidationError("Give either event_id or failed_since.", code="invalid")
        return attrs


class ReplayedOut(serializers.Serializer):
    """How many deliveries wait again."""

    replayed = serializers.IntegerField()


class WebhookDeliveryOut(serializers.Serializer):
    """One event on its way to the endpoint."""

    event_id = serializers.UUIDField(source="event.event_id")
    type = serializers.CharField(source="event.type")
    created_at = serializers.DateTimeField(source="event.created_at")
    payload = serializers.DictField(source="event.payload")
    state = serializers.ChoiceField(choices=WebhookDelivery.State.choices)
    attempts = serializers.IntegerField()
    next_try_at = serializers.DateTimeField(allow_null=True)
    last_attempt_at = serializers.DateTimeField(allow_null=True)
    last_status = serializers.IntegerField(allow_null=True)
    last_problem = serializers.CharField()
    last_latency_ms = serializers.IntegerField(allow_null=True)


class WebhookDeliveriesOut(serializers.Serializer):
    """A page of an endpoint's deliveries."""

    endpoint_id = serializers.UUIDField()
    total_deliveries = serializers.IntegerField()
    deliveries = WebhookDeliveryOut(many=True)
