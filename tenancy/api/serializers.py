"""Shapes of organizations and keys."""

from rest_framework import serializers

from config.foundation.api.fields import ClientIdField, MetadataField, TextField, WholeNumberField

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


class VirtualKeyIn(serializers.Serializer):
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


class NewVirtualKeyOut(VirtualKeyOut):
    """A new key, with the key itself: this once."""

    virtual_key = serializers.CharField()


class VirtualKeyListOut(serializers.Serializer):
    """A team's keys."""

    team_id = serializers.CharField()
    keys = VirtualKeyOut(many=True)
