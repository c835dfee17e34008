"""How LiteLLM Proxy stands with each team: in step or not, what was found to differ, what was spent there."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, F, Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.models import ProxyDrift, ProxySpend, ProxyTeam
from tenancy.admin import ReadOnlyAdmin, link


class InStepFilter(admin.SimpleListFilter):
    """How LiteLLM Proxy stands with a team."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        """The choices."""
        return [("in_step", "In step"), ("due", "Due"), ("failing", "Failing"), ("drift", "With open drift")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The teams in the chosen state."""
        match self.value():
            case "in_step":
                return queryset.filter(wanted_version=F("synced_version"))
            case "due":
                return queryset.filter(wanted_version__gt=F("synced_version"))
            case "failing":
                return queryset.filter(failures__gt=0)
            case "drift":
                return queryset.filter(open_drifts__gt=0)
        return queryset


@admin.register(ProxyTeam)
class ProxyTeamAdmin(ReadOnlyAdmin):
    """Whether LiteLLM Proxy is in step with each team, and what keeps it from that."""

    list_display = ("team", "in_step", "synced_at", "drift", "failures", "last_error", "next_try_at")
    list_filter = (InStepFilter,)
    list_select_related = ("team",)
    search_fields = ("team__team_id", "last_error")
    secret_fields = ("platform_key_encrypted",)
    ordering = ("-failures", "team_id")
    fields = (
        "team",
        "in_step",
        "wanted_version",
        "synced_version",
        "synced_at",
        "failures",
        "last_error",
        "next_try_at",
        "due_at",
        "leased_until",
        "drift",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With what `drift` shows."""
        is_open = Q(team__proxy_drifts__isnull=False, team__proxy_drifts__resolved_at=None)
        return super().get_queryset(request).annotate(open_drifts=Count("team__proxy_drifts", filter=is_open))

    @admin.display(boolean=True)
    def in_step(self, row: ProxyTeam) -> bool:
        """Every change has reached the proxy."""
        return row.is_in_step

    @admin.display(description="Open drift", ordering="open_drifts")
    def drift(self, row: Any) -> SafeString:
        """How many findings are open, and all of them."""
        return link("billing_proxydrift_changelist", row.open_drifts, team__id__exact=row.pk)


@admin.register(ProxyDrift)
class ProxyDriftAdmin(ReadOnlyAdmin):
    """Where LiteLLM Proxy was found to differ: repaired (resolved at once), or for somebody to look at."""

    list_display = ("found_at", "proxy_team_id", "kind", "subject", "was", "wanted", "last_seen_at", "resolved_at")
    list_filter = ("kind", ("resolved_at", admin.EmptyFieldListFilter))
    search_fields = ("proxy_team_id__exact", "subject__exact")
    date_hierarchy = "found_at"
    fields = (
        "team",
        "proxy_team_id",
        "kind",
        "subject",
        "was",
        "wanted",
        "found_at",
        "last_seen_at",
        "resolved_at",
    )
    readonly_fields = fields


@admin.register(ProxySpend)
class ProxySpendAdmin(ReadOnlyAdmin):
    """What LiteLLM Proxy counted, by day, key and model."""

    list_display = ("day", "team", "model_name", "is_platform", "spend_usd", "requests", "read_at")
    list_filter = ("is_platform", "day")
    list_select_related = ("team",)
    search_fields = ("team__team_id__exact", "model_name", "key_hash__exact")
    date_hierarchy = "day"
    fields = (
        "team",
        "day",
        "model_name",
        "key_hash",
        "is_platform",
        "spend_usd",
        "requests",
        "prompt_tokens",
        "completion_tokens",
        "read_at",
    )
    readonly_fields = fields
