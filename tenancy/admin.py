"""The admin of organizations and keys, and what the admins of the apps above share.

It is for browsing. It saves a few plain fields of organizations, teams and groups, and revokes keys by the service;
everything else changes through the API, where the rules are. A team's page is in billing.admin, with its account.
"""

from typing import Any, ClassVar, cast
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q, QuerySet
from django.forms.fields import InvalidJSONInput
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from config.foundation import strict_json
from config.foundation.errors import InvalidInput
from config.foundation.limits import MAX_METADATA_BYTES, is_metadata_too_large
from tenancy.models import IdempotencyRecord, OperatorKey, Organization, Team, VirtualKey
from tenancy.services import keys

admin.site.site_title = admin.site.site_header = "Job credits"
admin.site.index_title = "Browse"

#: Rows of an inline; the rest is a link away, in the rows' own list.
MAX_INLINE_ROWS = 100


def link(view: str, text: object, *, pk: object = None, **query: object) -> SafeString:
    """A link to a page of the admin by its name, such as "jobs_job_change" (apps above are known by name only)."""
    url = reverse(f"admin:{view}", args=[] if pk is None else [pk])
    filters = urlencode({name: str(value) for name, value in query.items()})
    return format_html('<a href="{}">{}</a>', f"{url}?{filters}" if filters else url, text)


def in_a_row(*links: SafeString) -> SafeString:
    """Several links."""
    return format_html_join(" · ", "{}", ((one,) for one in links))


class MetadataField(forms.JSONField):
    """An object under the API's rules, because the API has to print it again."""

    def to_python(self, value: Any) -> Any:
        """The object; empty is {}. Raises ValidationError."""
        if not isinstance(value, str):
            return {} if value is None else value
        try:
            metadata = strict_json.parse(value.encode()) if value.strip() else {}
        except InvalidInput as error:
            raise ValidationError(str(error), code="invalid") from error
        if not isinstance(metadata, dict):
            raise ValidationError("Enter a JSON object.", code="invalid")
        if is_metadata_too_large(metadata):
            raise ValidationError(f"This is larger than {MAX_METADATA_BYTES} bytes.", code="max_length")
        return metadata

    def clean(self, value: Any) -> Any:
        """The same; Django's own would make None of {}."""
        return self.to_python(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What was typed, as it was typed: parsing it again may be what is wrong with it."""
        return InvalidJSONInput(data or "")


class ReadOnly:
    """Who may view it sees it; nobody adds, changes or deletes it here."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False


class BrowseAdmin(admin.ModelAdmin):
    """A list to browse, whose searches for an id use its index. Nothing is added or deleted here."""

    list_per_page = 50
    #: Counting a whole table for "n total" costs a scan.
    show_full_result_count = False
    formfield_overrides = {models.JSONField: {"form_class": MetadataField, "required": False}}
    #: Where a search for a UUID looks first, in this order.
    uuid_fields: ClassVar[tuple[str, ...]] = ()
    #: Not loaded, and not to be guessed at by filters in the address.
    secret_fields: ClassVar[tuple[str, ...]] = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: the API opens things, with all that belongs to them."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Everything, without the secrets."""
        return super().get_queryset(request).defer(*self.secret_fields)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """As Django has it, but never by a secret."""
        if lookup.partition("__")[0] in self.secret_fields:
            return False
        return super().lookup_allowed(lookup, value, cast(HttpRequest, request))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By id where the term is one and is found, else by `search_fields`."""
        try:
            wanted = UUID(search_term.strip())
        except ValueError:
            return super().get_search_results(request, queryset, search_term)
        for field in self.uuid_fields:
            found = queryset.filter(**{field: wanted})
            if found.exists():
                return found, False
        return super().get_search_results(request, queryset, search_term)


class ReadOnlyAdmin(ReadOnly, BrowseAdmin):
    """Browsing and nothing else."""


class FirstRows(BaseInlineFormSet):
    """The first rows, whatever a client sends back: a read-only inline has no input."""

    def get_queryset(self) -> QuerySet[Any]:
        """At most MAX_INLINE_ROWS of them."""
        if not hasattr(self, "_first_rows"):
            self._first_rows = super().get_queryset()[:MAX_INLINE_ROWS]
            len(self._first_rows)  # Evaluated once, or every row would be a query of its own.
        return self._first_rows

    def initial_form_count(self) -> int:
        """As many as there are rows."""
        return len(self.get_queryset())

    def total_form_count(self) -> int:
        """The same."""
        return self.initial_form_count()


class ReadOnlyInline(ReadOnly, admin.TabularInline):
    """Rows that belong to the page's object."""

    formset = FirstRows
    extra = 0
    show_change_link = True
    can_delete = False


class TeamInline(ReadOnlyInline):
    """An organization's teams."""

    model = Team
    fields = ("team_id", "team_alias", "status", "created_at")
    readonly_fields = fields
    ordering = ("-created_at",)


@admin.register(Organization)
class OrganizationAdmin(BrowseAdmin):
    """Name, status and metadata can be changed; suspending stops all keys of all its teams."""

    list_display = ("organization_id", "name", "status", "created_at")
    list_filter = ("status",)
    search_fields = ("organization_id", "name")
    date_hierarchy = "created_at"
    fields = ("organization_id", "name", "status", "metadata", "all_teams", "created_at", "updated_at")
    readonly_fields = ("organization_id", "all_teams", "created_at", "updated_at")
    inlines = (TeamInline,)

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
        """Without the hash."""
        return super().get_queryset(request).defer("key_hash")


class RevocableAdmin(ReadOnlyAdmin):
    """Keys: to read, and to revoke."""

    actions = ("revoke",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Django's "change" permission, which is of no other use on keys."""
        return request.user.has_perm(f"{self.opts.app_label}.{get_permission_codename('change', self.opts)}")

    @admin.action(description="Revoke selected keys at once", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Stop them, one service call each."""
        chosen = list(queryset)
        for key in chosen:
            self.stop(key)
            self.log_change(request, key, "Revoked")
        self.message_user(request, f"{len(chosen)} key(s) revoked")

    def stop(self, key: Any) -> None:
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
    secret_fields = ("key_hash",)
    date_hierarchy = "created_at"
    fields = ("id", "team", "name", "last_four", "created_at", "expires_at", "revoked_at", "replaces")

    @admin.display(boolean=True)
    def works(self, key: VirtualKey) -> bool:
        """Neither revoked nor expired."""
        return key.revoked_at is None and (key.expires_at is None or key.expires_at > timezone.now())

    def stop(self, key: VirtualKey) -> None:
        """By the service that the API calls, too."""
        keys.revoke_virtual_key(team_id=key.team.team_id, key_id=key.id)


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

    def stop(self, key: OperatorKey) -> None:
        """At once."""
        keys.revoke_operator_key(key_id=key.id)


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
