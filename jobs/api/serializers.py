"""Shapes of jobs, calls and usage."""

import re
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from config.foundation.api.fields import ClientIdField, MetadataField, TextField, WholeNumberField

MAX_MESSAGES = 4096
MAX_TOOLS = 128
MAX_STOPS = 4
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
ROLES = ("system", "developer", "user", "assistant", "tool", "function")


class JobIn(serializers.Serializer):
    """Create a job."""

    team_id = ClientIdField()
    user_id = ClientIdField(required=False, allow_null=True, default="")
    job_type = TextField(max_length=128)
    metadata = MetadataField()

    def validate_user_id(self, value: str | None) -> str:
        """Null is no user."""
        return value or ""


class NewJobOut(serializers.Serializer):
    """A new job."""

    job_id = serializers.UUIDField()
    status = serializers.CharField()
    created_at = serializers.DateTimeField()


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


class CallIn(serializers.Serializer):
    """Make an LLM call."""

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
    retry_of = serializers.UUIDField(
        required=False, allow_null=True, default=None, help_text="A failed call of this job that this one replaces."
    )

    def validate_purpose(self, value: str | None) -> str:
        """Null is no purpose."""
        return value or ""


class AnswerOut(serializers.Serializer):
    """What the model said."""

    content = serializers.CharField(allow_null=True)
    finish_reason = serializers.CharField(allow_null=True)
    tool_calls = serializers.ListField(
        child=serializers.DictField(), required=False, help_text="OpenAI's tool calls, where the model made some."
    )


class CallMetadataOut(serializers.Serializer):
    """What a team may know of a call: neither the model nor its cost."""

    tokens_used = serializers.IntegerField()
    latency_ms = serializers.IntegerField()
    model_group = serializers.CharField()


class CallAnswerOut(serializers.Serializer):
    """An answered call."""

    call_id = serializers.UUIDField()
    response = AnswerOut()
    metadata = CallMetadataOut()


class CompleteIn(serializers.Serializer):
    """End a job."""

    status = serializers.ChoiceField(choices=["completed", "failed"])
    metadata = MetadataField()
    error_message = TextField(max_length=4096, required=False, allow_null=True, allow_blank=True, default="")

    def validate_error_message(self, value: str | None) -> str:
        """Null is no message."""
        return value or ""


class CostsOut(serializers.Serializer):
    """A job's sums."""

    total_calls = serializers.IntegerField()
    successful_calls = serializers.IntegerField()
    failed_calls = serializers.IntegerField()
    superseded_calls = serializers.IntegerField()
    running_calls = serializers.IntegerField()
    total_tokens = serializers.IntegerField()
    total_cost_usd = serializers.DecimalField(max_digits=20, decimal_places=12)
    avg_latency_ms = serializers.IntegerField()
    credit_applied = serializers.BooleanField()
    credits_remaining = serializers.IntegerField(allow_null=True)


class CompletedCallOut(serializers.Serializer):
    """A call in a job's completion."""

    call_id = serializers.UUIDField(source="id")
    purpose = serializers.CharField(allow_null=True)
    model_group = serializers.CharField()
    tokens = serializers.IntegerField()
    latency_ms = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(allow_null=True)


class CompletionOut(serializers.Serializer):
    """An ended job."""

    job_id = serializers.UUIDField()
    status = serializers.CharField()
    completed_at = serializers.DateTimeField()
    costs = CostsOut()
    calls = CompletedCallOut(many=True)


class CallOut(CompletedCallOut):
    """A call in a job."""

    state = serializers.CharField()
    cost_usd = serializers.DecimalField(max_digits=20, decimal_places=12)
    retry_of = serializers.UUIDField(allow_null=True)
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class JobSummaryOut(serializers.Serializer):
    """A job in a list."""

    job_id = serializers.UUIDField()
    team_id = serializers.CharField()
    user_id = serializers.CharField(allow_null=True)
    job_type = serializers.CharField()
    status = serializers.CharField()
    metadata = serializers.DictField()
    error_message = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)
    total_cost_usd = serializers.DecimalField(max_digits=20, decimal_places=12)
    credit_applied = serializers.BooleanField()


class JobOut(JobSummaryOut):
    """A job with its calls."""

    total_tokens = serializers.IntegerField()
    calls = CallOut(many=True)


class JobListOut(serializers.Serializer):
    """A page of a team's jobs, newest first."""

    team_id = serializers.CharField()
    total_jobs = serializers.IntegerField()
    jobs = JobSummaryOut(many=True)


class TotalsOut(serializers.Serializer):
    """Sums over a period's jobs."""

    total_jobs = serializers.IntegerField()
    successful_jobs = serializers.IntegerField()
    failed_jobs = serializers.IntegerField()
    total_cost_usd = serializers.DecimalField(max_digits=20, decimal_places=12)
    total_tokens = serializers.IntegerField()
    avg_cost_per_job = serializers.DecimalField(max_digits=20, decimal_places=6)


class UsageSummaryOut(TotalsOut):
    """The same with the credits charged for those jobs."""

    credits_used = serializers.IntegerField()


class JobTypeUsageOut(serializers.Serializer):
    """One kind of job."""

    count = serializers.IntegerField()
    cost_usd = serializers.DecimalField(max_digits=20, decimal_places=12)


class TeamUsageOut(serializers.Serializer):
    """A team's usage in a period."""

    team_id = serializers.CharField()
    period = serializers.CharField()
    summary = UsageSummaryOut()
    job_types = serializers.DictField(child=JobTypeUsageOut())


class OrganizationUsageOut(serializers.Serializer):
    """An organization's usage in a period, also by team."""

    organization_id = serializers.CharField()
    period = serializers.CharField()
    summary = UsageSummaryOut()
    job_types = serializers.DictField(child=JobTypeUsageOut())
    teams = serializers.DictField(child=TotalsOut())
