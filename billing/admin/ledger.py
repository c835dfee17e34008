"""The admin of the ledger: for reading, because only triggers write it."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe
from unfold.contrib.filters.admin import TextFilter

from billing.models import CreditGrant, CreditHold, GrantDraw, LedgerEntry
from tenancy.admin import ReadOnlyAdmin, in_a_row, link
from tenancy.admin.streaming import csv_response
from tenancy.models import Team

#: Column of the CSV file → where it comes from.
EXPORTED = {
    "created_at": "created_at",
    "organization": "account__team__organization__organization_id",
    "team": "account__team__team_id",
    "sequence": "sequence",
    "kind": "kind",
    "amount": "amount",
    "balance_after": "balance_after",
    "reason": "reason",
    "job_id": "job_id",
    "actor": "actor",
    "entry_id": "id",
}
ROWS_PER_FETCH = 2000


class TeamFilter(TextFilter):
    """By a team's id, in full: a list to choose from would be as long as there are teams."""

    title = "team"
    parameter_name = "team"
    lookup = "team_id"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of that one's accounts, by their numbers, which the index of accounts begins with."""
        value = (self.value() or "").strip()
        if not value:
            return queryset
        return queryset.filter(
            account_id__in=list(Team.objects.filter(**{self.lookup: value}).values_list("pk", flat=True))
        )


class OrganizationFilter(TeamFilter):
    """By an organization's id."""

    title = "organization"
    parameter_name = "organization"
    lookup = "organization__organization_id"


class OfAnAccount(ReadOnlyAdmin):
    """The columns that entries and holds share."""

    list_select_related = ("account__team",)

    @admin.display(description="Team", ordering="account__team__team_id")
    def team(self, row: Any) -> SafeString:
        """Whose it is."""
        return link("tenancy_team_change", row.account.team, pk=row.account_id)

    @admin.display(description="Job", ordering="job_id")
    def job(self, row: Any) -> SafeString | str:
        """To it and to its receipt, where there is one."""
        if not row.job_id:
            return "-"
        receipt = link("jobs_job_receipt", "receipt", pk=row.job_id)
        return in_a_row(link("jobs_job_change", row.job_id, pk=row.job_id), receipt)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(OfAnAccount):
    """The ledger only grows, and not from here."""

    list_display = ("created_at", "team", "sequence", "kind", "amount", "balance_after", "reason", "job")
    list_filter = ("kind", OrganizationFilter, TeamFilter)
    list_before_template = "console/export_link.html"
    search_fields = ("account__team__team_id__exact",)
    search_help_text = "A team's id, an entry's or a job's id, in full"
    team_column = "account_id"
    uuid_fields = ("id", "job_id")
    sortable_by = ("created_at",)
    date_hierarchy = "created_at"
    fields = (
        "id",
        "team",
        "sequence",
        "kind",
        "amount",
        "balance_after",
        "reason",
        "job",
        "hold",
        "expired_grant",
        "draws",
        "metadata",
        "actor",
        "created_at",
        "hex_digest",
    )
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        """With the export's."""
        export = self.admin_site.admin_view(require_safe(self.export))
        return [path("export/", export, name="billing_ledgerentry_export"), *super().get_urls()]

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Not by the digest: a text in the address cannot be compared with bytes."""
        return not lookup.startswith("digest") and super().lookup_allowed(lookup, value, request)

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """The filtered list as a CSV file, however long: neither web nor PostgreSQL holds it in memory."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            entries = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse("admin:billing_ledgerentry_changelist"))
        rows = entries.values_list(*EXPORTED.values()).iterator(chunk_size=ROWS_PER_FETCH)
        return csv_response(request, "ledger", list(EXPORTED), rows)

    @admin.display(description="Drew on")
    def draws(self, entry: LedgerEntry) -> SafeString:
        """A link to the draws of the entry."""
        return link("billing_grantdraw_changelist", "Grants", entry__exact=entry.pk)

    @admin.display(description="Digest")
    def hex_digest(self, entry: LedgerEntry) -> str:
        """Of this entry and the one before it."""
        return bytes(entry.digest).hex()


@admin.register(CreditHold)
class CreditHoldAdmin(OfAnAccount):
    """Credits set aside for open jobs, and what became of them."""

    list_display = ("created_at", "team", "job", "amount", "state", "ended_at", "balance_after")
    list_filter = ("state",)
    search_fields = ("account__team__team_id__exact",)
    search_help_text = "A team's, a hold's or a job's id, in full"
    team_column = "account_id"
    sortable_by = ("created_at",)
    uuid_fields = ("id", "job_id")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-id")
    fields = ("id", "team", "job", "amount", "state", "created_at", "ended_at", "balance_after")
    readonly_fields = fields


@admin.register(CreditGrant)
class CreditGrantAdmin(OfAnAccount):
    """Where credits came from, and what is left of them."""

    list_display = ("created_at", "team", "kind", "amount", "remaining", "priority", "expires_at")
    list_filter = ("kind", "is_spent", "expires_at")
    search_fields = ("account__team__team_id__exact",)
    search_help_text = "A team's, a grant's or an entry's id, in full"
    team_column = "account_id"
    sortable_by = ("created_at",)
    uuid_fields = ("id", "entry")
    date_hierarchy = "created_at"
    fields = (
        "id",
        "team",
        "kind",
        "amount",
        "remaining",
        "priority",
        "expires_at",
        "entry_link",
        "draws",
        "created_at",
    )
    readonly_fields = fields

    @admin.display(description="Entry")
    def entry_link(self, grant: CreditGrant) -> SafeString:
        """The entry that made it."""
        return link("billing_ledgerentry_change", grant.entry_id, pk=grant.entry_id)

    @admin.display(description="Draws")
    def draws(self, grant: CreditGrant) -> SafeString:
        """A link: there may be very many."""
        return link("billing_grantdraw_changelist", "Draws", grant__exact=grant.pk)


@admin.register(GrantDraw)
class GrantDrawAdmin(ReadOnlyAdmin):
    """Which entry took how much of which grant."""

    list_display = ("id", "entry_link", "grant_link", "amount")
    fields = list_display
    readonly_fields = fields
    ordering = ("-id",)

    @admin.display(description="Entry")
    def entry_link(self, draw: GrantDraw) -> SafeString:
        """What took the credits."""
        return link("billing_ledgerentry_change", draw.entry_id, pk=draw.entry_id)

    @admin.display(description="Grant")
    def grant_link(self, draw: GrantDraw) -> SafeString:
        """Where they came from."""
        return link("billing_creditgrant_change", draw.grant_id, pk=draw.grant_id)
