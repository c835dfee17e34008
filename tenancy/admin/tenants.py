"""The admin of organizations and keys. A team's page is in billing.admin, with its account."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from tenancy.admin.browsing import AuditedAdmin, ReadOnlyAdmin, ReadOnlyInline, actor_of, link
from tenancy.models import IdempotencyRecord, OperatorKey, Organization, Team, VirtualKey
from tenancy.services import keys


class TeamInline(ReadOnlyInline):
    """An organization's teams."""

    model = Team
    fields = ("team_id", "team_alias", "status", "created_at")
    readonly_fields = fields
    ordering = ("-created_at",)


@admin.register(Organization)
class OrganizationAdmin(AuditedAdmin):
    """Name, status and metadata can be changed; suspending stops all keys of all its teams."""

    list_display = ("organization_id", "name", "status", "created_at")
    list_filter = ("status",)
    search_fields = ("organization_id", "name")
    date_hierarchy = "created_at"
    fields = ("organization_id", "name", "status", "alert_emails", "metadata", "all_teams", "created_at", "updated_at")
    readonly_fields = ("organization_id", "all_teams", "created_at", "updated_at")
    inlines = (TeamInline,)
    audit_word = "organization"

    def audit_owner(self, obj: Organization) -> dict[str, Any]:
        """Itself."""
        return {"organization_pk": obj.pk}

    @admin.display(description="Teams")
    def all_teams(self, organization: Organization) -> SafeString:
        """A link to their list."""
        return link("tenancy_team_changelist", "All teams", organization__id__exact=organization.pk)


class VirtualKeyInline(ReadOnlyInline):
    """A team's keys."""

    model = VirtualKey
    fields = ("name", "last_four", "created_at", "expires_at", "revoked_at")
    readonly_fields = fields
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Without the hash and the key."""
        return super().get_queryset(request).defer("key_hash", "secret_encrypted")


class RevocableAdmin(ReadOnlyAdmin):
    """Keys: to read, and to revoke."""

    actions = ("revoke",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Django's "change" permission, which is of no other use on keys."""
        return self.may_change(request)

    @admin.action(description="Revoke selected keys at once", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Stop them, one service call each."""
        chosen = list(queryset)
        for key in chosen:
            self.stop(key, actor_of(request))
            self.log_change(request, key, "Revoked")
        self.message_user(request, f"{len(chosen)} key(s) revoked")

    def stop(self, key: Any, actor: str) -> None:
        """Revoke one key."""
        raise NotImplementedError


class KeyStateFilter(admin.SimpleListFilter):
    """Whether a key works."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        """The choices."""
        return [("works", "Works"), ("expired", "Expired"), ("revoked", "Revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The keys in the chosen state."""
        expired = Q(revoked_at=None, expires_at__lte=timezone.now())
        match self.value():
            case "works":
                return queryset.filter(revoked_at=None).exclude(expired)
            case "expired":
                return queryset.filter(expired)
            case "revoked":
                return queryset.exclude(revoked_at=None)
        return queryset


@admin.register(VirtualKey)
class VirtualKeyAdmin(RevocableAdmin):
    """Keys are made and rotated through the API, which shows them once."""

    list_display = ("__str__", "name", "team", "works", "created_at", "expires_at", "revoked_at")
    list_filter = (KeyStateFilter,)
    list_select_related = ("team",)
    search_fields = ("team__team_id", "name", "last_four__exact")
    uuid_fields = ("id",)
    secret_fields = ("key_hash", "secret_encrypted")
    date_hierarchy = "created_at"
    fields = ("id", "team", "name", "last_four", "created_at", "expires_at", "revoked_at", "replaces")

    @admin.display(boolean=True)
    def works(self, key: VirtualKey) -> bool:
        """Neither revoked nor expired."""
        return key.revoked_at is None and (key.expires_at is None or key.expires_at > timezone.now())

    def stop(self, key: VirtualKey, actor: str) -> None:
        """By the service that the API calls, too."""
        keys.revoke_virtual_key(team_id=key.team.team_id, key_id=key.id, actor=actor)


@admin.register(OperatorKey)
class OperatorKeyAdmin(RevocableAdmin):
    """Operator keys are made by `manage.py create_operator_key`."""

    list_display = ("name", "last_four", "scopes", "created_at", "revoked_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_fields = ("name", "last_four__exact")
    uuid_fields = ("id",)
    secret_fields = ("key_hash",)
    date_hierarchy = "created_at"
    fields = ("id", "name", "last_four", "scopes", "created_at", "revoked_at")

    def stop(self, key: OperatorKey, actor: str) -> None:
        """At once."""
        keys.revoke_operator_key(key_id=key.id, actor=actor)


class AnsweredFilter(admin.SimpleListFilter):
    """Whether a reply is stored."""

    title = "answered"
    parameter_name = "answered"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        """The choices."""
        return [("yes", "Yes"), ("no", "No: in flight")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those with, or those without."""
        return queryset.filter(reply__isnull=self.value() == "no") if self.value() else queryset


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(ReadOnlyAdmin):
    """Which keys are in use, and whether they are answered; never what was answered."""

    list_display = ("key", "scope", "is_answered", "created_at")
    list_filter = (AnsweredFilter,)
    search_fields = ("key__exact", "scope__exact")
    secret_fields = ("reply", "request_hash")
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    fields = ("scope", "key", "is_answered", "created_at")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With what `is_answered` shows."""
        return super().get_queryset(request).annotate(has_reply=Q(reply__isnull=False))

    @admin.display(boolean=True, ordering="has_reply")
    def is_answered(self, record: Any) -> bool:
        """In flight if not."""
        return bool(record.has_reply)
