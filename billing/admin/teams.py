"""The admin of teams and their credits. Accounts are for reading: only triggers write them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import F
from django.utils.safestring import SafeString

from billing.models import CreditAccount
from modelgroups.admin import TeamGroupInline
from tenancy.admin import AuditedAdmin, ReadOnlyAdmin, ReadOnlyInline, VirtualKeyInline, in_a_row, link
from tenancy.models import Team

NUMBERS = ("allocated", "used", "remaining", "held", "available")


class CreditAccountInline(ReadOnlyInline):
    """A team's balance."""

    model = CreditAccount
    verbose_name_plural = "credits"
    fields = (*NUMBERS, "credit_limit", "last_sequence")
    readonly_fields = fields


class TeamForm(forms.ModelForm):
    """What can be changed of a team here."""

    job_ttl_s = forms.IntegerField(
        label="Job TTL (s)",
        required=False,
        min_value=1,
        max_value=2**31 - 1,
        help_text="Seconds until an open job is failed; empty for the default. For jobs opened from now on.",
    )
    max_calls_in_flight = forms.IntegerField(
        label="Calls in flight",
        required=False,
        min_value=1,
        max_value=100_000,
        help_text="LLM calls that may wait or run at once; empty for the default.",
    )
    keep_content_s = forms.IntegerField(
        label="Keep content (s)",
        required=False,
        min_value=1,
        max_value=2**31 - 1,
        help_text="Seconds for which prompts and answers are kept, encrypted; empty: not at all.",
    )

    class Meta:
        model = Team
        fields = (
            "team_alias",
            "status",
            "job_ttl_s",
            "max_calls_in_flight",
            "keep_content_s",
            "credits_low_thresholds",
            "metadata",
        )


@admin.register(Team)
class TeamAdmin(AuditedAdmin):
    """Here and not in tenancy.admin for the reason that the API's view is: it shows credits and groups, too."""

    form = TeamForm
    list_display = ("team_id", "team_alias", "organization", "status", *NUMBERS, "created_at")
    list_filter = ("status",)
    list_select_related = ("organization", "credit_account")
    search_fields = ("team_id", "team_alias", "organization__organization_id__exact")
    date_hierarchy = "created_at"
    fields = (
        "team_id",
        "organization",
        "team_alias",
        "status",
        "job_ttl_s",
        "max_calls_in_flight",
        "keep_content_s",
        "credits_low_thresholds",
        "metadata",
        "see_also",
        "created_at",
        "updated_at",
    )
    readonly_fields = ("team_id", "organization", "see_also", "created_at", "updated_at")
    inlines = (CreditAccountInline, VirtualKeyInline, TeamGroupInline)
    audit_word = "team"

    def audit_owner(self, obj: Team) -> dict[str, Any]:
        """Itself, and its organization."""
        return {"organization_pk": obj.organization_id, "team_pk": obj.pk}

    @admin.display(description="See also")
    def see_also(self, team: Team) -> SafeString:
        """What would be too much for this page."""
        return in_a_row(
            link("jobs_job_changelist", "Jobs", team__id__exact=team.pk),
            link("billing_ledgerentry_changelist", "Ledger", account__exact=team.pk),
            link("billing_credithold_changelist", "Holds", account__exact=team.pk),
            link("billing_creditgrant_changelist", "Grants", account__exact=team.pk),
            link("tenancy_virtualkey_changelist", "Keys", team__id__exact=team.pk),
            link("billing_proxyteam_change", "LiteLLM Proxy", pk=team.pk),
            link("billing_proxyspend_changelist", "Spend at the proxy", team__id__exact=team.pk),
        )

    @admin.display(ordering="credit_account__allocated")
    def allocated(self, team: Team) -> int:
        """Of its account, as the following."""
        return team.credit_account.allocated

    @admin.display(ordering="credit_account__used")
    def used(self, team: Team) -> int:
        """Charged for jobs."""
        return team.credit_account.used

    @admin.display(ordering=F("credit_account__allocated") - F("credit_account__used"))
    def remaining(self, team: Team) -> int:
        """Allocated minus used."""
        return team.credit_account.remaining

    @admin.display(ordering="credit_account__held")
    def held(self, team: Team) -> int:
        """By open jobs."""
        return team.credit_account.held

    @admin.display(ordering=F("credit_account__allocated") - F("credit_account__used") - F("credit_account__held"))
    def available(self, team: Team) -> int:
        """Remaining minus held."""
        return team.credit_account.available


@admin.register(CreditAccount)
class CreditAccountAdmin(ReadOnlyAdmin):
    """Balances are what entries and holds make them."""

    list_display = ("team", *NUMBERS, "last_sequence", "created_at")
    list_select_related = ("team",)
    search_fields = ("team__team_id",)
    date_hierarchy = "created_at"
    fields = ("team", *NUMBERS, "credit_limit", "auto_refill", "last_sequence", "entries", "created_at")
    readonly_fields = fields

    @admin.display(description="Ledger")
    def entries(self, account: CreditAccount) -> SafeString:
        """A link: there may be very many."""
        return link("billing_ledgerentry_changelist", "Entries", account__exact=account.pk)
