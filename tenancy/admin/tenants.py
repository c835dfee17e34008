"""The admin of keys. Organizations and teams are in billing.admin, with their credits."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import action
from unfold.widgets import UnfoldAdminSelectWidget

from tenancy.admin.browsing import ReadOnlyAdmin, actor_of
from tenancy.admin.forms import ConfirmForm, done, form_page, key_page
from tenancy.admin.key_forms import ChangeKeyForm
from tenancy.models import IdempotencyRecord, OperatorKey, VirtualKey
from tenancy.services import keys
from tenancy.services.key_terms import TERMS


class RevocableAdmin(ReadOnlyAdmin):
    """Keys: to read, and to revoke."""

    actions = ("revoke",)

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
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


class RotateForm(ConfirmForm):
    """How long the old key goes on working."""

    grace_s = forms.TypedChoiceField(
        label="The old key works",
        coerce=int,
        choices=[
            (0, "no more"),
            (3600, "for an hour"),
            (24 * 3600, "for a day"),
            (7 * 24 * 3600, "for a week"),
            (30 * 24 * 3600, "for 30 days"),
        ],
        initial=24 * 3600,
        widget=UnfoldAdminSelectWidget,
    )


#: What a key has besides its expiry.
RESTRICTIONS = tuple(name for name in TERMS if name != "expires_at")


@admin.register(VirtualKey)
class VirtualKeyAdmin(RevocableAdmin):
    """Keys are made on their team's page, and shown once."""

    list_display = ("__str__", "name", "team", "works", "created_at", "expires_at", "revoked_at")
    list_filter = (KeyStateFilter,)
    list_select_related = ("team",)
    search_fields = ("team__team_id", "name", "last_four__exact")
    uuid_fields = ("id",)
    secret_fields = ("key_hash", "secret_encrypted")
    date_hierarchy = "created_at"
    fields = ("id", "team", "name", "last_four", "created_at", "expires_at", "revoked_at", "replaces", *RESTRICTIONS)
    actions_detail = ("change_terms", "rotate", "revoke_one")

    @admin.display(boolean=True)
    def works(self, key: VirtualKey) -> bool:
        """Neither revoked nor expired."""
        return key.revoked_at is None and (key.expires_at is None or key.expires_at > timezone.now())

    def stop(self, key: VirtualKey, actor: str) -> None:
        """By the service that the API calls, too."""
        keys.revoke_virtual_key(team_id=key.team.team_id, key_id=key.id, actor=actor)

    def found(self, request: HttpRequest, object_id: str) -> VirtualKey:
        """The key of a page. Raises Http404."""
        key = self.get_object(request, unquote(object_id))
        if key is None:
            raise Http404
        return key

    @action(description="Restrict", url_path="restrict", permissions=["revoke"], icon="tune")
    def change_terms(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What it is for, from where, until when, and how much."""
        key = self.found(request, object_id)

        def act(form: ChangeKeyForm) -> HttpResponse:
            keys.change_virtual_key(
                team_id=key.team.team_id,
                key_id=key.id,
                terms=form.terms,
                actor=actor_of(request),
                reason=form.cleaned_data["reason"],
            )
            url = reverse("admin:tenancy_virtualkey_change", args=[key.pk])
            return done(request, f"The key {key} of team {key.team.team_id} is as you have set it.", url)

        return form_page(
            self,
            request,
            ChangeKeyForm,
            act,
            title=f"Restrict the key {key} of team {key.team.team_id}",
            text="In force from the next request on.",
            submit="Save",
            original=key,
            key=key,
        )

    @action(description="Rotate", url_path="rotate", permissions=["revoke"], icon="sync")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Replace it by a new one, which is shown once."""
        key = self.found(request, object_id)

        def act(form: RotateForm) -> HttpResponse:
            fields = form.cleaned_data
            new = form.once(
                request,
                lambda: keys.rotate_virtual_key(
                    team_id=key.team.team_id,
                    key_id=key.id,
                    grace_s=fields["grace_s"],
                    actor=actor_of(request),
                    reason=fields["reason"],
                ),
            )
            if new is None:
                return HttpResponseRedirect(reverse("admin:tenancy_team_change", args=[key.team_id]))
            return key_page(self, request, key=new.plaintext, title="The key is replaced", team=key.team)

        title = f"Rotate the key {key} of team {key.team.team_id}"
        return form_page(self, request, RotateForm, act, title=title, submit="Rotate", original=key)

    @action(description="Revoke", url_path="revoke", permissions=["revoke"], icon="block")
    def revoke_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Stop it."""
        key = self.found(request, object_id)

        def act(form: ConfirmForm) -> HttpResponse:
            reason = form.cleaned_data["reason"]
            keys.revoke_virtual_key(team_id=key.team.team_id, key_id=key.id, actor=actor_of(request), reason=reason)
            url = reverse("admin:tenancy_team_change", args=[key.team_id])
            return done(request, f"The key {key} of team {key.team.team_id} is revoked.", url)

        return form_page(
            self,
            request,
            ConfirmForm,
            act,
            title=f"Revoke the key {key} of team {key.team.team_id}",
            text="It stops at once and for good. Requests with it are answered with 401.",
            submit="Revoke",
            is_danger=True,
            original=key,
        )


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
