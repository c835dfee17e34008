"""The admin of alerts and their mails."""

from django.contrib import admin

from tenancy.admin.browsing import ReadOnlyAdmin, ReadOnlyInline
from tenancy.models import Alert, AlertMail


class AlertMailInline(ReadOnlyInline):
    """Who was told by mail."""

    model = AlertMail
    fields = ("recipient", "state", "attempts", "sent_at")
    readonly_fields = fields


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """What is the matter, and what was."""

    list_display = ("rule", "subject", "threshold", "state", "opened_at", "closed_at")
    list_filter = ("state", "rule")
    search_fields = ("subject", "team__team_id", "organization__organization_id")
    uuid_fields = ("id",)
    date_hierarchy = "opened_at"
    fields = ("id", "rule", "subject", "threshold", "team", "organization", "data", "state", "opened_at", "closed_at")
    inlines = (AlertMailInline,)


@admin.register(AlertMail)
class AlertMailAdmin(ReadOnlyAdmin):
    """What was sent to whom."""

    list_display = ("alert", "recipient", "state", "attempts", "next_try_at", "sent_at")
    list_filter = ("state",)
    list_select_related = ("alert",)
    search_fields = ("recipient",)
    uuid_fields = ("id", "alert_id")
    fields = ("id", "alert", "recipient", "state", "attempts", "next_try_at", "sent_at")
