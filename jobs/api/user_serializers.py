"""Shapes of a team's users."""

from rest_framework import serializers

from config.foundation.api.fields import CreditsField, TextField, UsdField
from jobs.api.serializers import DirectUsageOut, JobTypeUsageOut, UsageSummaryOut
from tenancy.models import TeamUser


class UserLimitsIn(serializers.Serializer):
    """Limits per calendar month (UTC). Absent: as it is; null: none."""

    credits_per_month = CreditsField(
        required=False, allow_null=True, help_text="Credits that jobs opened in the month hold or were charged."
    )
    direct_cost_usd_per_month = UsdField(
        required=False, allow_null=True, help_text="What OpenAI-compatible calls without a job cost."
    )


class TeamUserIn(serializers.Serializer):
    """Change a user."""

    status = serializers.ChoiceField(choices=["active", "blocked"], required=False)
    limits = UserLimitsIn(required=False)
    reason = TextField(max_length=1024, required=False, allow_blank=True, default="", help_text="For the audit log.")


class UserLimitsOut(serializers.Serializer):
    """Limits per calendar month; null: none."""

    credits_per_month = serializers.IntegerField(allow_null=True)
    direct_cost_usd_per_month = serializers.DecimalField(max_digits=24, decimal_places=12, allow_null=True)


class TeamUserOut(serializers.Serializer):
    """A team's user."""

    user_id = serializers.CharField(help_text="Of an erased user a random pseudonym.")
    status = serializers.ChoiceField(choices=TeamUser.Status.choices)
    first_seen_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField(help_text="Up to an hour late.")
    limits = UserLimitsOut()
    erasure_requested_at = serializers.DateTimeField(allow_null=True)
    erased_at = serializers.DateTimeField(allow_null=True)


class TeamUserListOut(serializers.Serializer):
    """A page of a team's users, the newest first."""

    team_id = serializers.CharField()
    total_users = serializers.IntegerField()
    users = TeamUserOut(many=True)


class CreditAllowanceOut(serializers.Serializer):
    """Credits of the current month."""

    limit = serializers.IntegerField()
    used = serializers.IntegerField(help_text="Held or charged.")


class CostAllowanceOut(serializers.Serializer):
    """USD of the current month."""

    limit = serializers.DecimalField(max_digits=24, decimal_places=12)
    used = serializers.DecimalField(max_digits=24, decimal_places=12)
    reserved = serializers.DecimalField(max_digits=24, decimal_places=12)


class AllowancesOut(serializers.Serializer):
    """Each limit and what is used of it in the current month, whatever the period; null where there is no limit."""

    credits = CreditAllowanceOut(allow_null=True)
    direct_cost_usd = CostAllowanceOut(allow_null=True)


class TeamUserUsageOut(serializers.Serializer):
    """A user's usage in a period, by the rules of the team's."""

    team_id = serializers.CharField()
    user_id = serializers.CharField()
    period = serializers.CharField()
    total_calls = serializers.IntegerField(help_text="In jobs and direct.")
    summary = UsageSummaryOut()
    job_types = serializers.DictField(child=JobTypeUsageOut())
    direct = DirectUsageOut()
    allowances = AllowancesOut()
