"""The admin of teams and their credits. Accounts are for reading: only triggers write them."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from billing.admin import panels
from billing.admin.team_actions import CreditActions
from billing.models import CreditAccount
from billing.queries.balances import budget_usd
from tenancy.admin import AuditedAdmin, ReadOnlyAdmin, actor_of, in_a_row, link
from tenancy.admin.key_forms import LimitField
from tenancy.models import AuditEntry, Team
from tenancy.models.team import MAX_LIMIT
from tenancy.services.limits import LIMITS, set_team_limits

NUMBERS = ("allocated", "used", "remaining", "held", "available")


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
        max_value=MAX_LIMIT,
        help_text="LLM calls that may wait or run at once; empty for the default.",
    )
    requests_per_minute = LimitField()
    tokens_per_minute = LimitField()
    user_requests_per_minute = LimitField(label="A user's requests per minute", help_text="Empty: no limit.")
    user_tokens_per_minute = LimitField(label="A user's tokens per minute", help_text="Empty: no limit.")
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
            "job_ttl_s",
            "max_calls_in_flight",
            "requests_per_minute",
            "tokens_per_minute",
            "user_requests_per_minute",
            "user_tokens_per_minute",
            "keep_content_s",
            "direct_calls_are_jobs",
            "credits_low_thresholds",
            "metadata",
        )


@admin.register(Team)
class TeamAdmin(CreditActions, AuditedAdmin):
    """Here and not in tenancy.admin for the reason that the API's view is: it shows credits and groups, too.

    Its status is no field of the form: suspending is an action, with a permission and an audit entry of its own.
    """

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
        "requests_per_minute",
        "tokens_per_minute",
        "user_requests_per_minute",
        "user_tokens_per_minute",
        "keep_content_s",
        "direct_calls_are_jobs",
        "credits_low_thresholds",
        "metadata",
        "see_also",
        "created_at",
        "updated_at",
    )
    readonly_fields = ("team_id", "organization", "status", "see_also", "created_at", "updated_at")
    actions_list = ("create_team",)
    actions_detail = (
        "top_up",
        "correct",
        "create_key",
        "assign_groups",
        {"title": "More", "items": ["refill_policy", "change_status"]},
    )
    audit_word = "team"
    service_fields = LIMITS

    def save_model(self, request: HttpRequest, obj: Team, form: forms.ModelForm, change: bool) -> None:
        """Its limits by the service that the API calls."""
        super().save_model(request, obj, form, change)
        limits = {name: form.cleaned_data[name] for name in LIMITS if name in form.changed_data}
        set_team_limits(team_id=obj.team_id, limits=limits, actor=actor_of(request))

    def audit_owner(self, obj: Team) -> dict[str, Any]:
        """Itself, and its organization."""
        return {"organization_pk": obj.organization_id, "team_pk": obj.pk}

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], **options: Any) -> HttpResponse:
        """With the tables above the form, of which the user sees what he may."""
        team: Team = options["obj"]
        account, may = team.credit_account, request.user.has_perm
        shown = list(_panels(team, request))
        jobs = [("jobs", "Jobs")] if may("jobs.view_job") else []
        context |= {
            "cards": panels.cards_of(account, budget_usd(account)) if may("billing.view_creditaccount") else [],
            "panels": shown,
            "tabs": panels.as_tabs(shown, *jobs),
        }
        return super().render_change_form(request, context, **options)

    @admin.display(description="See also")
    def see_also(self, team: Team) -> SafeString:
        """What would be too much for this page."""
        return in_a_row(
            link("jobs_job_changelist", "Jobs", team__id__exact=team.pk),
            link("billing_ledgerentry_changelist", "Ledger", account__exact=team.pk),
            link("billing_credithold_changelist", "Holds", account__exact=team.pk),
            link("billing_creditgrant_changelist", "Grants", account__exact=team.pk),
            link("billing_teambudget_change", "Budget", pk=team.pk),
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


def _panels(team: Team, request: HttpRequest) -> Iterator[panels.Panel]:
    """What the user may see of the team's tables."""
    may = request.user.has_perm
    if may("tenancy.view_virtualkey"):
        keys = panels.keys_of(team, may_change=may("tenancy.change_virtualkey"))
        yield panels.Panel(
            "keys", "Keys", keys, link("tenancy_virtualkey_changelist", "All keys", team__id__exact=team.pk)
        )
    if may("tenancy.view_teamuser"):
        whole = link("tenancy_teamuser_changelist", "All users", team__id__exact=team.pk)
        yield panels.Panel("users", "Users", panels.users_of(team), whole)
    if may("modelgroups.view_groupassignment"):
        yield panels.Panel("groups", "Model groups", panels.groups_of(team))
    if may("billing.view_ledgerentry"):
        whole = link("billing_ledgerentry_changelist", "The whole ledger", team=team.team_id)
        yield panels.Panel("ledger", "Ledger", panels.ledger_of(team), whole)
        yield panels.Panel("statements", "Statements", panels.statements_of("console_team_statement", team.pk))
    if may("tenancy.view_auditentry"):
        entries = AuditEntry.objects.filter(team=team)
        whole = link("tenancy_auditentry_changelist", "The whole history", team__id__exact=team.pk)
        yield panels.Panel("history", "History", panels.history_of(entries), whole)


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
