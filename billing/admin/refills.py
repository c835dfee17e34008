"""The admin of refills and refill policies. Policies are set on a team's page and through the API, by one service."""

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString

from billing.models import Refill, RefillPolicy
from tenancy.admin import ReadOnlyAdmin, link


class OfATeam(ReadOnlyAdmin):
    """The column that both share."""

    list_select_related = ("account__team",)

    @admin.display(description="Team", ordering="account__team__team_id")
    def team(self, row: Any) -> SafeString:
        """Whose it is."""
        return link("tenancy_team_change", row.account.team, pk=row.account_id)


@admin.register(RefillPolicy)
class RefillPolicyAdmin(OfATeam):
    """Which teams are refilled by themselves."""

    list_display = ("team", "is_enabled", "every", "amount", "fill_to", "below", "max_per_month", "limit")
    list_filter = ("is_enabled", "every")
    search_fields = ("account__team__team_id__exact",)
    fields = (*list_display, "active_from", "refills", "updated_at")
    readonly_fields = fields

    @admin.display(description="Credit limit")
    def limit(self, policy: RefillPolicy) -> int | None:
        """The most that a refill fills up to."""
        return policy.account.credit_limit

    @admin.display(description="Refills")
    def refills(self, policy: RefillPolicy) -> SafeString:
        """What it has done, and what commands have."""
        return link("billing_refill_changelist", "Refills", account__exact=policy.pk)


@admin.register(Refill)
class RefillAdmin(OfATeam):
    """Refills by policies and by batches."""

    list_display = ("created_at", "team", "amount", "batch", "row", "is_automatic", "period_start")
    list_filter = ("is_automatic", "created_at")
    search_fields = ("account__team__team_id__exact", "batch__exact")
    date_hierarchy = "created_at"
    fields = (*list_display, "entry_link")
    readonly_fields = fields

    @admin.display(description="Entry")
    def entry_link(self, refill: Refill) -> SafeString | str:
        """What it posted, where it added anything."""
        return link("billing_ledgerentry_change", refill.entry_id, pk=refill.entry_id) if refill.entry_id else "-"
