"""What the admins of all apps share: browsing, links, and JSON fields under the API's rules."""

from collections.abc import Sequence
from typing import Any, ClassVar, cast
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth import get_permission_codename
from django.core.exceptions import ValidationError
from django.db import DataError, models
from django.db.models import Q, QuerySet
from django.forms.fields import InvalidJSONInput
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold import admin as unfold
from unfold.views import ChangeList

from config.foundation import strict_json
from config.foundation.errors import InvalidInput
from config.foundation.limits import MAX_METADATA_BYTES, is_metadata_too_large
from tenancy.admin.forms import remember_what_was_shown
from tenancy.admin.long_lists import BoundedPaginator, DayRangeFilter, LongChangeList, search_by_index
from tenancy.services import audit

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


def actor_of(request: HttpRequest) -> str:
    """Who acts, as the audit log and the ledger name them (the ledger in 64 characters)."""
    return f"console:{request.user.get_username()}"


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


class BrowseAdmin(unfold.ModelAdmin):
    """A list to browse, whose searches for an id use its index. Nothing is added or deleted here."""

    list_per_page = 50
    #: The range of dates is typed, and so sent by a button.
    list_filter_submit = True
    #: Counting a whole table for "n total" costs a scan, and counting it for the pages another.
    show_full_result_count = False
    paginator = BoundedPaginator
    formfield_overrides = {models.JSONField: {"form_class": MetadataField, "required": False}}
    #: Where a search for a UUID looks first, in this order.
    uuid_fields: ClassVar[tuple[str, ...]] = ()
    #: Not loaded, and not to be guessed at by filters in the address.
    secret_fields: ClassVar[tuple[str, ...]] = ()
    #: For tables of millions of rows: searched for exactly that, one after the other, instead of all `search_fields` at
    #: once. Each must have an index. `team_column` is that of a team's number.
    indexed_columns: ClassVar[tuple[str, ...]] = ()
    team_column: ClassVar[str] = ""
    #: "filter=value" of an address → what else is true of such rows, and is the condition of an index.
    implications: ClassVar[dict[str, Q]] = {}

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """One that knows what it was opened with."""
        form = super().get_form(request, obj, change, **kwargs)
        remember_what_was_shown(form.base_fields.values())
        return form

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """What makes no sense in an address or a selection is refused kindly: Django itself knows some of it only."""
        if request.method == "POST" and not self._are_keys(request.POST.getlist(ACTION_CHECKBOX_NAME)):
            messages.error(request, "Nothing was done: the selection was not understood.")
            return HttpResponseRedirect(request.get_full_path())
        if any("\0" in value for values in request.GET.lists() for value in values[1]):
            return self._without_filters(request)
        try:
            response = super().changelist_view(request, extra_context)
            # Some of it is noticed by PostgreSQL only, when the rows are read.
            return response.render() if isinstance(response, TemplateResponse) else response
        except (DataError, OverflowError, ValueError, ValidationError):
            if request.method == "POST" or not request.GET:
                raise
            return self._without_filters(request)

    def _are_keys(self, values: list[str]) -> bool:
        try:
            for value in values:
                self.opts.pk.to_python(value)
        except ValidationError:
            return False
        return True

    def _without_filters(self, request: HttpRequest) -> HttpResponseBase:
        messages.error(request, "The filters in the address were not understood; this is the whole list.")
        return HttpResponseRedirect(request.path)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """One that does not read the whole table."""
        return LongChangeList

    def get_list_filter(self, request: HttpRequest) -> Sequence[Any]:
        """With a range of dates, where Django would have a hierarchy of them."""
        filters = super().get_list_filter(request)
        return [*filters, (self.date_hierarchy, DayRangeFilter)] if self.date_hierarchy else filters

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: the API opens things, with all that belongs to them."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def may_change(self, request: HttpRequest) -> bool:
        """Django's "change" permission: where nothing is edited, it is what an action asks for."""
        return request.user.has_perm(f"{self.opts.app_label}.{get_permission_codename('change', self.opts)}")

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
        search_term = search_term.replace("\0", "")
        try:
            wanted = UUID(search_term.strip())
        except ValueError:
            return self._search(request, queryset, search_term)
        for field in self.uuid_fields:
            found = queryset.filter(**{field: wanted})
            if found.exists():
                return found, False
        return self._search(request, queryset, search_term)

    def _search(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        if search_term and (self.team_column or self.indexed_columns):
            columns = self.indexed_columns
            return search_by_index(queryset, search_term, team_column=self.team_column, columns=columns), False
        return super().get_search_results(request, queryset, search_term)


class AuditedAdmin(BrowseAdmin):
    """A list whose rows have a form: what it changes goes into the audit log, with what was there before."""

    #: What the audit log calls it, before the dot.
    audit_word: ClassVar[str] = ""
    #: Fields that are not written here but by a service, with its own entry.
    service_fields: ClassVar[tuple[str, ...]] = ()

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: bool) -> None:
        """Save what the form changed, and write the entry in the same transaction.

        No other column: somebody may have suspended it since it was read.
        """
        names = {field.name for field in self.opts.concrete_fields}
        changed = [name for name in form.changed_data if name not in self.service_fields]
        obj.save(update_fields=names.intersection([*changed, "updated_at"]))
        given = {name: form.cleaned_data[name] for name in changed if name in form.cleaned_data}
        before, after = audit.changes(form.initial, given)
        if not after:
            return
        audit.record(
            actor=actor_of(request),
            action=f"{self.audit_word}.changed",
            subject=str(obj),
            before=before,
            after=after,
            **self.audit_owner(obj),
        )

    def audit_owner(self, obj: Any) -> dict[str, Any]:
        """Whose it is, as audit.record takes it."""
        return {}


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


class ReadOnlyInline(ReadOnly, unfold.TabularInline):
    """Rows that belong to the page's object."""

    formset = FirstRows
    extra = 0
    show_change_link = True
    can_delete = False
