"""Shapes of jobs, calls and usage."""

from rest_framework import serializers

from config.foundation.api.fields import ClientIdField, MetadataField, TextField
from jobs.api.chat import ChatIn
from jobs.models import Attempt, Call
from tenancy.queries.users import stored_user_id


class JobIn(serializers.Serializer):
    """Create a job."""

    team_id = ClientIdField()
    user_id = ClientIdField(required=False, allow_null=True, default="")
    job_type = TextField(max_length=128)
    metadata = MetadataField()

    def validate_user_id(self, value: str | None) -> str:
        """Null is no user. Two ids there are that no path can name."""
        return stored_user_id(value or "")


class NewJobOut(serializers.Serializer):
    """A new job."""

    job_id = serializers.UUIDField()
    status = serializers.CharField()
    created_at = serializers.DateTimeField()


class CallIn(ChatIn):
    """Make an LLM call in a job."""

    retry_of = serializers.UUIDField(
        required=False,
        allow_null=True,
        default=None,
        help_text="The call of this job that this one replaces.",
    )


class JobCallIn(JobIn, ChatIn):
    """Make a job of one LLM call."""


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


class AcceptedCallOut(serializers.Serializer):
    """An asynchronous call, on its way."""

    call_id = serializers.UUIDField()
    job_id = serializers.UUIDField()
    state = serializers.CharField()


class JobCostsOut(serializers.Serializer):
    """What a job of one call cost."""

    total_cost_usd = serializers.DecimalField(max_digits=20, decimal_places=12)
    credit_applied = serializers.BooleanField()
    credits_remaining = serializers.IntegerField(allow_null=True)


class JobCallAnswerOut(CallAnswerOut):
    """A job of one call, ended."""

    job_id = serializers.UUIDField()
    status = serializers.CharField()
    costs = JobCostsOut(allow_null=True)


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
    cancelled_calls = serializers.IntegerField()
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


class CallListOut(serializers.Serializer):
    """A page of a job's calls, newest first."""

    job_id = serializers.UUIDField()
    total_calls = serializers.IntegerField()
    calls = CallOut(many=True)


class AttemptOut(serializers.Serializer):
    """One model that was tried for a call."""

    sequence = serializers.IntegerField()
    model_name = serializers.CharField()
    outcome = serializers.ChoiceField(choices=Attempt.Outcome.choices)
    cause = serializers.CharField(allow_null=True)
    error_class = serializers.CharField(allow_null=True)
    http_status = serializers.IntegerField(allow_null=True)
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    usage_is_estimated = serializers.BooleanField()
    cost_usd = serializers.DecimalField(max_digits=20, decimal_places=12, allow_null=True)
    latency_ms = serializers.IntegerField()
    started_at = serializers.DateTimeField()


class CallDetailOut(serializers.Serializer):
    """A call, and its result where that is kept."""

    call_id = serializers.UUIDField()
    job_id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=Call.State.choices)
    purpose = serializers.CharField(allow_null=True)
    retry_of = serializers.UUIDField(allow_null=True)
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    error = serializers.CharField(allow_null=True)
    code = serializers.CharField(allow_null=True)
    response = AnswerOut(allow_null=True)
    metadata = CallMetadataOut()
    attempts = serializers.ListField(child=AttemptOut(), required=False, help_text="For operators only.")


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


class ProxySpendOut(serializers.Serializer):
    """What was spent at LiteLLM Proxy: directly with the team's keys, and by its jobs, whose costs have it, too."""

    direct_spend_usd = serializers.DecimalField(max_digits=20, decimal_places=12)
    direct_requests = serializers.IntegerField()
    platform_spend_usd = serializers.DecimalField(max_digits=20, decimal_places=12)
    models = serializers.DictField(child=serializers.DecimalField(max_digits=20, decimal_places=12))


class DirectUsageOut(serializers.Serializer):
    """The OpenAI-compatible calls that were made without a job. They are in no other figure."""

    calls = serializers.IntegerField()
    successful_calls = serializers.IntegerField()
    failed_calls = serializers.IntegerField()
    cost_usd = serializers.DecimalField(max_digits=24, decimal_places=12)
    tokens = serializers.IntegerField()


class BudgetOut(serializers.Serializer):
    """The team's budget now, whatever the period: of its credits allocated, by its calls in jobs and without."""

    limit_usd = serializers.DecimalField(max_digits=24, decimal_places=12)
    spent_usd = serializers.DecimalField(max_digits=24, decimal_places=12)
    reserved_usd = serializers.DecimalField(max_digits=24, decimal_places=12)
    remaining_usd = serializers.DecimalField(max_digits=24, decimal_places=12)


class TeamUsageOut(serializers.Serializer):
    """A team's usage in a period."""

    team_id = serializers.CharField()
    period = serializers.CharField()
    summary = UsageSummaryOut()
    job_types = serializers.DictField(child=JobTypeUsageOut())
    direct = DirectUsageOut()
    budget = BudgetOut()
    litellm_proxy = ProxySpendOut(required=False, help_text="Only where a LiteLLM Proxy is configured.")


class OrganizationUsageOut(serializers.Serializer):
    """An organization's usage in a period, also by team."""

    organization_id = serializers.CharField()
    period = serializers.CharField()
    summary = UsageSummaryOut()
    job_types = serializers.DictField(child=JobTypeUsageOut())
    direct = DirectUsageOut()
    teams = serializers.DictField(child=TotalsOut())
    litellm_proxy = ProxySpendOut(required=False, help_text="Only where a LiteLLM Proxy is configured.")
