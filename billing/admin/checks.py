"""The admin's page of proofs: what verify_ledger found, and a button to run it."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from billing.models import LedgerCheck
from billing.services.checks import request_check
from config.foundation.errors import DependencyUnavailable
from tenancy.admin import ReadOnlyAdmin, actor_of


@admin.register(LedgerCheck)
class LedgerCheckAdmin(ReadOnlyAdmin):
    """Nightly by beat, at any time by the button or by `manage.py verify_ledger`."""

    change_list_template = "admin/billing/ledgercheck/change_list.html"
    list_display = ("started_at", "is_sound", "entries", "took", "actor")
    date_hierarchy = "started_at"
    fields = ("started_at", "ended_at", "entries", "is_sound", "broken_rules", "actor")
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        """With the button's."""
        verify = self.admin_site.admin_view(require_POST(self.verify))
        return [path("verify/", verify, name="billing_ledgercheck_verify"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """With the button, for those who may."""
        return super().changelist_view(request, {**(extra_context or {}), "may_verify": self.may_change(request)})

    def verify(self, request: HttpRequest) -> HttpResponse:
        """Have the books checked in the background, by whoever has Django's "change" permission: it writes a row."""
        if not self.may_change(request):
            raise PermissionDenied
        try:
            request_check(actor=actor_of(request)[:64])
        except DependencyUnavailable as error:
            self.message_user(request, f"Nothing was started. {error}", messages.ERROR)
        else:
            self.message_user(request, "The books are being checked: reload for the result.", messages.INFO)
        return HttpResponseRedirect(reverse("admin:billing_ledgercheck_changelist"))

    @admin.display(boolean=True, description="Sound")
    def is_sound(self, check: LedgerCheck) -> bool:
        """Whether every rule held."""
        return check.is_sound

    @admin.display(description="Took")
    def took(self, check: LedgerCheck) -> str:
        """In seconds."""
        return f"{(check.ended_at - check.started_at).total_seconds():.1f} s"

    @admin.display(description="Broken rules")
    def broken_rules(self, check: LedgerCheck) -> SafeString | str:
        """Each with how often and where, for example."""
        rows: list[tuple[Any, ...]] = [
            (breach["count"], breach["rule"], ", ".join(breach["examples"])) for breach in check.breaches
        ]
        if not rows:
            return "none"
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{} × {} ({})</li>", rows))
