"""The admin of the audit log."""

import json
from typing import Any

from django.contrib import admin
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, DropdownFilter, FieldTextFilter

from tenancy.admin.browsing import ReadOnlyAdmin
from tenancy.models import AuditEntry
from tenancy.queries import audit


class ActionFilter(DropdownFilter):
    """What was done."""

    title = "action"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        """The actions that occur."""
        return [(action, action) for action in audit.actions()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The entries of the chosen one."""
        return queryset.filter(action=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Who changed what. PostgreSQL lets nobody rewrite it."""

    list_display = ("created_at", "actor", "action", "subject", "organization", "team", "reason")
    list_display_links = ("created_at", "action")
    list_filter = (
        ActionFilter,
        ("organization", AutocompleteSelectFilter),
        ("team", AutocompleteSelectFilter),
        ("actor", FieldTextFilter),
    )
    list_filter_submit = True
    list_select_related = ("organization", "team")
    date_hierarchy = "created_at"
    search_fields = ("subject", "actor", "reason")
    fields = ("created_at", "actor", "action", "subject", "organization", "team", "what_changed", "reason")
    readonly_fields = ("what_changed",)

    @admin.display(description="Changed")
    def what_changed(self, entry: AuditEntry) -> SafeString | str:
        """Each field, with its value before and after."""
        before, after = entry.before or {}, entry.after or {}
        rows = [(name, _shown(before, name), _shown(after, name)) for name in dict.fromkeys([*before, *after])]
        if not rows:
            return "-"
        head = format_html("<tr><th>{}</th><th>{}</th><th>{}</th></tr>", "", "before", "after")
        body = format_html_join("", "<tr><th>{}</th><td>{}</td><td>{}</td></tr>", rows)
        return format_html('<table class="text-left">{}{}</table>', head, body)


def _shown(fields: dict[str, Any], name: str) -> str:
    if name not in fields:
        return ""
    value = fields[name]
    return value if isinstance(value, str) else json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
