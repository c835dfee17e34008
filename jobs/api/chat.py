"""What a client may ask of a model: OpenAI's chat completion, checked field by field."""

import re
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from config.foundation.api.fields import ClientIdField, TextField, WholeNumberField

MAX_MESSAGES = 4096
MAX_TOOLS = 128
MAX_STOPS = 4
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
ROLES = ("system", "developer", "user", "assistant", "tool", "function")


class MessagesField(serializers.ListField):
    """OpenAI's chat messages: each an object with a role, and text or a list of parts as its content."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=serializers.DictField(), allow_empty=False, max_length=MAX_MESSAGES, **kwargs)

    def to_internal_value(self, data: Any) -> list[dict[str, Any]]:
        """The messages, unchanged. Raises ValidationError."""
        messages: list[dict[str, Any]] = super().to_internal_value(data)
        problems: dict[Any, Any] = {
            index: problem for index, message in enumerate(messages) if (problem := _problem(message))
        }
        if problems:
            raise serializers.ValidationError(problems)
        return messages


def _problem(message: dict[str, Any]) -> dict[str, list[str]] | None:
    if message.get("role") not in ROLES:
        return {"role": [f"Must be one of {', '.join(ROLES)}."]}
    content = message.get("content")
    if isinstance(content, str) or (content is None and message["role"] == "assistant"):
        return None
    if isinstance(content, list) and content and all(isinstance(part, dict) and "type" in part for part in content):
        return None
    return {"content": ["Must be a text or a list of content parts."]}


class NumberField(serializers.FloatField):
    """A number, as a number."""

    def to_internal_value(self, data: Any) -> float:
        """The number. Raises ValidationError."""
        if not isinstance(data, int | float) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": MAX_STOPS},
        ]
    }
)
class StopField(serializers.Field):
    """A text, or a list of up to four, at which the model stops."""

    def to_internal_value(self, data: Any) -> str | list[str]:
        """The stop, unchanged. Raises ValidationError."""
        texts = data if isinstance(data, list) else [data]
        if not 1 <= len(texts) <= MAX_STOPS or not all(isinstance(text, str) and text for text in texts):
            raise serializers.ValidationError(f"Must be a text or a list of up to {MAX_STOPS}.")
        return data


class ToolField(serializers.DictField):
    """OpenAI's tool: `{"type": "function", "function": {"name": …}}`."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """The tool, unchanged. Raises ValidationError."""
        function = data.get("function") if isinstance(data, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if data.get("type") != "function" if isinstance(data, dict) else True:
            raise serializers.ValidationError('Must be an object of the type "function".')
        if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
            raise serializers.ValidationError("Must have a function with a name of up to 64 letters, digits, _ or -.")
        return data


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "enum": ["none", "auto", "required"]},
            {"type": "object", "additionalProperties": True},
        ]
    }
)
class ToolChoiceField(serializers.Field):
    """One of none, auto and required, or the tool to use."""

    def to_internal_value(self, data: Any) -> str | dict[str, Any]:
        """The choice, unchanged. Raises ValidationError."""
        if data in ("none", "auto", "required") or (isinstance(data, dict) and data.get("type") == "function"):
            return data
        raise serializers.ValidationError('Must be "none", "auto", "required" or an object naming a function.')


class ResponseFormatField(serializers.DictField):
    """OpenAI's response_format: text, json_object, or json_schema with a schema."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """The format, unchanged. Raises ValidationError."""
        kind = data.get("type") if isinstance(data, dict) else None
        if kind in ("text", "json_object") or (kind == "json_schema" and isinstance(data.get("json_schema"), dict)):
            return data
        raise serializers.ValidationError('Must be {"type": "text" | "json_object"} or a "json_schema".')


class FlagField(serializers.BooleanField):
    """True or false, as such; null is false."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, allow_null=True, default=False, **kwargs)

    def to_internal_value(self, data: Any) -> bool:
        """The flag. Raises ValidationError."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class ChatIn(serializers.Serializer):
    """A chat completion's request, and how it is to be answered."""

    model_group = ClientIdField()
    messages = MessagesField()
    purpose = TextField(max_length=256, required=False, allow_null=True, allow_blank=True, default="")
    temperature = NumberField(min_value=0, max_value=2, required=False, allow_null=True)
    max_tokens = WholeNumberField(min_value=1, max_value=10_000_000, required=False, allow_null=True)
    top_p = NumberField(min_value=0, max_value=1, required=False, allow_null=True)
    presence_penalty = NumberField(min_value=-2, max_value=2, required=False, allow_null=True)
    frequency_penalty = NumberField(min_value=-2, max_value=2, required=False, allow_null=True)
    seed = WholeNumberField(min_value=-(2**63), max_value=2**63 - 1, required=False, allow_null=True)
    stop = StopField(required=False, allow_null=True)
    n = WholeNumberField(min_value=1, max_value=1, required=False, allow_null=True, help_text="One answer, always.")
    tools = serializers.ListField(
        child=ToolField(), max_length=MAX_TOOLS, allow_empty=False, required=False, allow_null=True
    )
    tool_choice = ToolChoiceField(required=False, allow_null=True)
    response_format = ResponseFormatField(required=False, allow_null=True)
    stream = FlagField(help_text="Answer with server-sent events.")

    def get_fields(self) -> dict[str, serializers.Field]:
        """With `async`, which Python would not take for a name."""
        return {**super().get_fields(), "async": FlagField(help_text="Answer 202 at once; fetch the result later.")}

    def validate_purpose(self, value: str | None) -> str:
        """Null is no purpose."""
        return value or ""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One form at a time. Raises ValidationError."""
        if attrs["stream"] and attrs["async"]:
            raise serializers.ValidationError({"stream": ["A call is either streamed or asynchronous."]})
        return attrs
