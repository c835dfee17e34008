"""Serializer fields with the contract's rules in them, so that no endpoint states a rule of its own."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from config.foundation.limits import (
    CLIENT_ID,
    CLIENT_ID_RULE,
    MAX_CREDITS,
    MAX_METADATA_BYTES,
    is_metadata_too_large,
)


class TextField(serializers.CharField):
    """Text that must arrive as text: DRF would turn numbers into strings, and hide a client's mistake."""

    def to_internal_value(self, data: Any) -> str:
        """The text. Raises ValidationError."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class ClientIdField(TextField):
    """An id that the client chooses."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 128)
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        """The id. Raises ValidationError."""
        text = super().to_internal_value(data)
        if not CLIENT_ID.fullmatch(text):
            raise serializers.ValidationError(f"This field {CLIENT_ID_RULE}.", code="invalid")
        return text


class WholeNumberField(serializers.IntegerField):
    """A whole number that must arrive as one: no strings, no booleans, no 1.0."""

    def to_internal_value(self, data: Any) -> int:
        """The number. Raises ValidationError."""
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return int(super().to_internal_value(data))


class TrueOrFalseField(serializers.BooleanField):
    """A boolean that must arrive as one: no "yes", no 1."""

    def to_internal_value(self, data: Any) -> bool:
        """The value. Raises ValidationError."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class CreditsField(WholeNumberField):
    """A number of credits."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"min_value": 0, "max_value": MAX_CREDITS, **kwargs})


class UsdField(serializers.DecimalField):
    """An amount in USD that must arrive as a JSON number, of at most a million and six decimals; not below zero."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_digits": 13, "decimal_places": 6, "min_value": 0, "max_value": 1_000_000, **kwargs})

    def to_internal_value(self, data: Any) -> Decimal:
        """The amount. Raises ValidationError."""
        if not isinstance(data, int | float) or isinstance(data, bool):
            self.fail("invalid")
        return Decimal(super().to_internal_value(data))


class MetadataField(serializers.DictField):
    """An object of the client's own, 16 KiB at most as JSON. null counts as {}."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "allow_null": True, "default": dict, **kwargs})

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """The object. Raises ValidationError."""
        if not isinstance(data, dict):
            self.fail("not_a_dict", input_type=type(data).__name__)
        if is_metadata_too_large(data):
            message = f"This field is larger than {MAX_METADATA_BYTES} bytes."
            raise serializers.ValidationError(message, code="max_length")
        return data

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        """Null is an empty object: the guide's clients send it."""
        is_empty, value = super().validate_empty_values(data)
        return (True, {}) if is_empty and value is None else (is_empty, value)
