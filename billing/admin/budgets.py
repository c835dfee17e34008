"""The admin of budgets: for reading, because they follow from the teams' calls."""

from decimal import Decimal

from django.contrib import admin
from django.utils.safestring import SafeString

from billing.models import TeamBudget
from billing.queries.balances import budget_usd
from tenancy.admin import ReadOnlyAdmin, in_a_row, link


@admin.register(TeamBudget)
class TeamBudgetAdmin(ReadOnlyAdmin):
    """Who has spent how much of what he may."""

    list_display = ("its_team", "limit_usd", "spent_usd", "reserved_usd", "remaining_usd")
    list_select_related = ("team__credit_account",)
    search_fields = ("team__team_id__exact",)
    ordering = ("-spent_usd", "-team_id")
    fields = (*list_display, "see_also")
    readonly_fields = fields

    @admin.display(description="Team", ordering="team__team_id")
    def its_team(self, budget: TeamBudget) -> SafeString:
        """Whose it is."""
        return link("tenancy_team_change", budget.team, pk=budget.team_id)

    @admin.display(description="Limit (USD)")
    def limit_usd(self, budget: TeamBudget) -> Decimal:
        """Of the credits allocated."""
        return budget_usd(budget.team.credit_account)

    @admin.display(description="Remaining (USD)")
    def remaining_usd(self, budget: TeamBudget) -> Decimal:
        """What further calls may be estimated at."""
        return self.limit_usd(budget) - budget.spent_usd - budget.reserved_usd

    @admin.display(description="See also")
    def see_also(self, budget: TeamBudget) -> SafeString:
        """What spent it."""
        return in_a_row(
            link("jobs_call_changelist", "Calls", team__id__exact=budget.team_id),
            link("billing_ledgerentry_changelist", "Ledger", account__exact=budget.team_id),
        )
