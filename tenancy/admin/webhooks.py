"""The admin of webhooks: to see what was sent where, and to send it once more."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from tenancy.admin.browsing import ReadOnlyAdmin, in_a_row, link
from tenancy.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tenancy.services.webhooks import outbox


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    """Endpoints are made, changed and rotated through the API."""

    list_display = ("url", "team", "organization", "state", "disabled_reason", "failing_since", "created_at")
    list_filter = ("state", "disabled_reason")
    list_select_related = ("team", "organization")
    search_fields = ("url", "team__team_id", "organization__organization_id")
    uuid_fields = ("id",)
    secret_fields = ("secret_encrypted", "previous_secret_encrypted")
    date_hierarchy = "created_at"
    fields = (
        "id",
        "url",
        "description",
        "team",
        "organization",
        "event_types",
        "state",
        "disabled_reason",
        "failing_since",
        "consecutive_failures",
        "resume_at",
        "previous_secret_until",
        "lease_id",
        "leased_until",
        "all_deliveries",
        "created_at",
        "updated_at",
    )
    readonly_fields = ("all_deliveries",)

    @admin.display(description="Deliveries")
    def all_deliveries(self, endpoint: WebhookEndpoint) -> SafeString:
        """Links to their lists."""
        page = "tenancy_webhookdelivery_changelist"
        return in_a_row(
            link(page, "All", endpoint__id__exact=endpoint.pk),
            link(page, "Failed", endpoint__id__exact=endpoint.pk, state__exact="failed"),
        )


@admin.register(WebhookEvent)
class WebhookEventAdmin(ReadOnlyAdmin):
    """The outbox."""

    list_display = ("event_id", "type", "team", "is_dispatched", "created_at")
    list_filter = ("type", "is_dispatched")
    list_select_related = ("team",)
    search_fields = ("team__team_id",)
    uuid_fields = ("event_id",)
    date_hierarchy = "created_at"
    fields = ("id", "event_id", "type", "team", "data", "is_dispatched", "all_deliveries", "created_at")
    readonly_fields = ("all_deliveries",)

    @admin.display(description="Deliveries")
    def all_deliveries(self, event: WebhookEvent) -> SafeString:
        """A link to their list."""
        return link("tenancy_webhookdelivery_changelist", "Deliveries", event__id__exact=event.pk)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    """What was sent where, and how it went."""

    list_display = ("event", "endpoint", "state", "attempts", "last_status", "last_problem", "next_try_at")
    list_filter = ("state", "event__type", "last_problem")
    list_select_related = ("event", "endpoint")
    search_fields = ("endpoint__url", "endpoint__team__team_id")
    uuid_fields = ("id", "event__event_id", "endpoint_id")
    date_hierarchy = "created_at"
    actions = ("replay",)
    fields = (
        "id",
        "event",
        "endpoint",
        "state",
        "attempts",
        "next_try_at",
        "last_attempt_at",
        "last_status",
        "last_problem",
        "last_latency_ms",
        "created_at",
    )

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Django's "change" permission, which is of no other use here."""
        return self.may_change(request)

    @admin.action(description="Deliver selected events once more", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """By the service that the API calls, too."""
        chosen = list(queryset)
        replayed = outbox.replay_deliveries(delivery_ids=[delivery.pk for delivery in chosen])
        for delivery in chosen:
            self.log_change(request, delivery, "Replayed")
        skipped = len(chosen) - replayed
        message = f"{replayed} event(s) will be delivered once more"
        self.message_user(request, f"{message}; {skipped} endpoint(s) are disabled" if skipped else message)
