"""Shapes of organizations and keys."""

from rest_framework import serializers

from config.foundation.api.fields import ClientIdField, MetadataField, TextField, WholeNumberField
from tenancy.models import VirtualKey
from tenancy.models.team import MAX_LIMIT
from tenancy.models.virtual_key import MAX_ALLOWED_IPS, MAX_ALLOWED_MODELS, MAX_MODEL_NAME

MAX_GRACE_S = 30 * 24 * 3600


class OrganizationIn(serializers.Serializer):
    """Create an organization."""

    organization_id = ClientIdField()
    name = TextField(max_length=255)
    metadata = MetadataField()


class OrganizationOut(serializers.Serializer):
    """An organization."""

    organization_id = serializers.CharField()
    name = serializers.CharField()
    status = serializers.CharField()
    metadata = serializers.DictField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


def _limit(help_text: str, *, null: str = "the default") -> WholeNumberField:
    return WholeNumberField(
        min_value=1, max_value=MAX_LIMIT, required=False, allow_null=True, help_text=f"{help_text}; null: {null}."
    )


class LimitsIn(serializers.Serializer):
    """Limits to calls. What is left out stays as it is."""

    requests_per_minute = _limit("LLM calls that may begin within any minute")
    tokens_per_minute = _limit("Tokens that LLM calls may take within any minute")
    max_calls_in_flight = _limit("LLM calls that may wait or run at once")


class TeamLimitsIn(LimitsIn):
    """And those of each of the team's users, which calls that name him are held to."""

    user_requests_per_minute = _limit("LLM calls of one user that may begin within any minute", null="none")
    user_tokens_per_minute = _limit("Tokens that one user's LLM calls may take within any minute", null="none")


class KeyTermsIn(LimitsIn):
    """What a key is restricted to, null for no restriction. What is left out stays as it is."""

    expires_at = serializers.DateTimeField(required=False, allow_null=True, help_text="When it stops.")
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=VirtualKey.Scope.choices),
        required=False,
        allow_null=True,
        allow_empty=False,
        max_length=len(VirtualKey.Scope.values),
        help_text="What it is for.",
    )
    allowed_models = serializers.ListField(
        child=TextField(max_length=MAX_MODEL_NAME, trim_whitespace=False),
        required=False,
        allow_null=True,
        allow_empty=False,
        max_length=MAX_ALLOWED_MODELS,
        help_text="The models and model groups that it may name, of those that the team may use.",
    )
    allowed_ips = serializers.ListField(
        child=TextField(max_length=64),
        required=False,
        allow_null=True,
        allow_empty=False,
        max_length=MAX_ALLOWED_IPS,
        help_text="Networks that it may be used from, such as 10.0.0.0/8 or 2001:db8::/32.",
    )


class VirtualKeyIn(KeyTermsIn):
    """Make a further key."""

    name = TextField(max_length=128, required=False, allow_blank=True, default="")


class RotateKeyIn(serializers.Serializer):
    """Replace a key."""

    grace_seconds = WholeNumberField(
        min_value=0, max_value=MAX_GRACE_S, required=False, default=0, help_text="How long the old key goes on working."
    )


class VirtualKeyOut(serializers.Serializer):
    """A key's record; the key itself is never shown again."""

    key_id = serializers.UUIDField(source="id")
    name = serializers.CharField()
    last_four = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    scopes = serializers.ListField(child=serializers.CharField(), allow_null=True)
    allowed_models = serializers.ListField(child=serializers.CharField(), allow_null=True)
    allowed_ips = serializers.ListField(child=serializers.CharField(), allow_null=True)
    requests_per_minute = serializers.IntegerField(allow_null=True)
    tokens_per_minute = serializers.IntegerField(allow_null=True)
    max_calls_in_flight = serializers.IntegerField(allow_null=True)


class NewVirtualKeyOut(VirtualKeyOut):
    """A new key, with the key itself: this once."""

    virtual_key = serializers.CharField()


class VirtualKeyListOut(serializers.Serializer):
    """A team's keys."""

    team_id = serializers.CharField()
    keys = VirtualKeyOut(many=True)


class LimitsOut(serializers.Serializer):
    """Limits to calls, null where there is none."""

    requests_per_minute = serializers.IntegerField(allow_null=True)
    tokens_per_minute = serializers.IntegerField(allow_null=True)
    max_calls_in_flight = serializers.IntegerField(allow_null=True)


class TeamLimitsOut(LimitsOut):
    """A team's own limits, null where it has the default, and `in_force`: what its calls are held to."""

    team_id = serializers.CharField()
    user_requests_per_minute = serializers.IntegerField(allow_null=True)
    user_tokens_per_minute = serializers.IntegerField(allow_null=True)
    in_force = LimitsOut()
