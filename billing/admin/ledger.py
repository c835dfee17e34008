"""The admin of the ledger: for reading, because only triggers write it."""

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString

from billing.models import CreditGrant, CreditHold, GrantDraw, LedgerEntry
from tenancy.admin import ReadOnlyAdmin, in_a_row, link


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
    list_filter = ("kind", "created_at")
    search_fields = ("account__team__team_id__exact", "reason", "actor__exact")
    uuid_fields = ("id", "job_id")
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
    list_filter = ("state", "created_at")
    search_fields = ("account__team__team_id__exact",)
    uuid_fields = ("id", "job_id")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-id")
    fields = ("id", "team", "job", "amount", "state", "created_at", "ended_at", "balance_after")
    readonly_fields = fields


@admin.register(CreditGrant)
class CreditGrantAdmin(OfAnAccount):
    """Where credits came from, and what is left of them."""

    list_display = ("created_at", "team", "kind", "amount", "remaining", "priority", "expires_at")
    list_filter = ("kind", "is_spent", "created_at", "expires_at")
    search_fields = ("account__team__team_id__exact",)
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
