"""Shapes of teams and credits."""

from rest_framework import serializers

from billing.models import CreditGrant, LedgerEntry
from billing.models.credit_grant import DEFAULT_PRIORITY
from config.foundation.api.fields import ClientIdField, CreditsField, MetadataField, TextField, WholeNumberField

#: What credits can be given as; an adjustment is posted by its own command.
GRANTED_KINDS = [kind for kind in CreditGrant.Kind.values if kind != CreditGrant.Kind.ADJUSTMENT]

CREATED = "Team created successfully with LiteLLM integration"
#: Where LiteLLM Proxy is away, or slow.
CREATED_AHEAD = (
    "Team created. LiteLLM Proxy does not know it yet: jobs can be created now, calls with its key work once the "
    "team's status is active"
)


class TeamIn(serializers.Serializer):
    """Create a team."""

    organization_id = ClientIdField()
    team_id = ClientIdField()
    team_alias = TextField(max_length=255, required=False, allow_blank=True, allow_null=True, default="")
    model_groups = serializers.ListField(child=ClientIdField(), required=False, default=list, max_length=256)
    credits_allocated = CreditsField(required=False, default=0)
    metadata = MetadataField()

    def validate_team_alias(self, value: str | None) -> str:
        """Null is no alias."""
        return value or ""


class CreditsOut(serializers.Serializer):
    """A balance: remaining = allocated − used; available = remaining − held by open jobs."""

    credits_allocated = serializers.IntegerField(source="allocated")
    credits_used = serializers.IntegerField(source="used")
    credits_remaining = serializers.IntegerField(source="remaining")
    credits_held = serializers.IntegerField(source="held")
    credits_available = serializers.IntegerField(source="available")


class TeamOut(serializers.Serializer):
    """A team with its credits and groups."""

    team_id = serializers.CharField(source="team.team_id")
    organization_id = serializers.CharField(source="team.organization.organization_id")
    team_alias = serializers.CharField(source="team.team_alias")
    status = serializers.CharField(help_text="`provisioning` until LiteLLM Proxy, where there is one, knows the team.")
    credits = CreditsOut(source="account")
    model_groups = serializers.ListField(child=serializers.CharField())
    metadata = serializers.DictField(source="team.metadata")
    created_at = serializers.DateTimeField(source="team.created_at")
    updated_at = serializers.DateTimeField(source="team.updated_at")


class TeamDetailOut(TeamOut):
    """The same with the models that the groups allow."""

    allowed_models = serializers.ListField(child=serializers.CharField())


class NewTeamOut(serializers.Serializer):
    """A new team, with its first key: this once."""

    team_id = serializers.CharField(source="overview.team.team_id")
    organization_id = serializers.CharField(source="overview.team.organization.organization_id")
    team_alias = serializers.CharField(source="overview.team.team_alias")
    status = serializers.CharField(source="overview.status")
    model_groups = serializers.ListField(source="overview.model_groups", child=serializers.CharField())
    allowed_models = serializers.ListField(source="overview.allowed_models", child=serializers.CharField())
    credits_allocated = serializers.IntegerField(source="overview.account.allocated")
    credits_remaining = serializers.IntegerField(source="overview.account.remaining")
    virtual_key = serializers.CharField(source="key.plaintext")
    message = serializers.CharField(default=CREATED)
    created_at = serializers.DateTimeField(source="overview.team.created_at")


class OrganizationTeamsOut(serializers.Serializer):
    """A page of an organization's teams."""

    organization_id = serializers.CharField()
    total_teams = serializers.IntegerField()
    teams = TeamOut(many=True)


class BalanceOut(CreditsOut):
    """A team's balance."""

    team_id = serializers.CharField()
    credit_limit = serializers.IntegerField(allow_null=True)
    auto_refill = serializers.BooleanField()
    budget_usd = serializers.DecimalField(max_digits=20, decimal_places=6)


class AddCreditsIn(serializers.Serializer):
    """Add credits."""

    credits_amount = CreditsField(min_value=1)
    reason = TextField(max_length=1024, required=False, allow_blank=True, allow_null=True, default="")
    metadata = MetadataField()
    kind = serializers.ChoiceField(choices=GRANTED_KINDS, required=False, default="purchase")
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    priority = WholeNumberField(min_value=0, max_value=1000, required=False, default=DEFAULT_PRIORITY)

    def validate_reason(self, value: str | None) -> str:
        """Null is no reason."""
        return value or ""


class CheckCreditsIn(serializers.Serializer):
    """Ask whether so many credits are available."""

    credits_required = CreditsField(min_value=1, required=False, default=1)


class CheckCreditsOut(serializers.Serializer):
    """Whether a job (or several) could be opened now."""

    available = serializers.BooleanField()
    credits_remaining = serializers.IntegerField()
    credits_available = serializers.IntegerField()


class TransactionOut(serializers.Serializer):
    """A ledger entry; `credits_amount` has no sign, the type tells the direction (adjustments: `direction`)."""

    transaction_id = serializers.UUIDField(source="id")
    team_id = serializers.CharField()
    transaction_type = serializers.CharField(source="kind")
    credits_amount = serializers.SerializerMethodField()
    direction = serializers.SerializerMethodField()
    balance_after = serializers.IntegerField()
    reason = serializers.CharField()
    job_id = serializers.UUIDField(allow_null=True)
    metadata = serializers.DictField()
    created_at = serializers.DateTimeField()

    def get_credits_amount(self, entry: LedgerEntry) -> int:
        """How many credits moved."""
        return abs(entry.amount)

    def get_direction(self, entry: LedgerEntry) -> str:
        """Which way they moved: credit or debit."""
        return "credit" if entry.amount > 0 else "debit"


class TransactionListOut(serializers.Serializer):
    """A page of a team's ledger, newest first."""

    team_id = serializers.CharField()
    total_transactions = serializers.IntegerField()
    transactions = TransactionOut(many=True)


class CreditsAddedOut(CreditsOut):
    """The balance after adding, and the transaction that did it."""

    team_id = serializers.CharField()
    credits_added = serializers.IntegerField()
    transaction = TransactionOut()
