"""The admin of the console's users, and what allauth's apps would show there."""

from http import HTTPStatus
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold import admin as unfold
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from config.console.roles import ROLES
from config.console.users import reset_second_factor
from tenancy.admin import ReadOnlyAdmin, actor_of
from tenancy.services import audit

#: Apps come from the settings, tokens are not kept, addresses are the users'.
for _model in (EmailAddress, SocialApp, SocialToken, SocialAccount, Authenticator, User, Group):
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)

NOTED = ("username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser")


@admin.register(User)
class UserAdmin(DjangoUserAdmin, unfold.ModelAdmin):
    """Who may log in, and with which roles. Only superusers make superusers, or touch one. Nobody is deleted."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "roles", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser", "groups")
    actions = ("reset_second_factor",)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("May", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")
    filter_horizontal = ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: the audit log knows people by their names. Make them inactive."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever may more than oneself is changed by superusers only: a password that is set is a way in."""
        if obj is not None and not request.user.is_superuser:
            own = Q(user=obj) | Q(group__user=obj)
            if obj.is_superuser or Permission.objects.filter(own, pk__in=_lacking(request)).exists():
                return False
        return super().has_change_permission(request, obj)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """Nobody puts anybody into a group that may more than they do themselves."""
        if db_field.name == "groups" and not request.user.is_superuser:
            options["queryset"] = Group.objects.exclude(permissions__in=_lacking(request))
        return super().formfield_for_manytomany(db_field, request, **options)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Nobody gives what they do not have."""
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, "is_superuser")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the groups."""
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="Roles")
    def roles(self, user: User) -> str:
        """The groups' names."""
        return ", ".join(sorted(group.name for group in user.groups.all())) or "-"

    def save_related(self, request: HttpRequest, form: forms.ModelForm, formsets: Any, change: bool) -> None:
        """Save, and write into the audit log what became of the user."""
        user = form.instance
        roles_before = sorted(user.groups.values_list("name", flat=True))
        super().save_related(request, form, formsets, change)
        now = audit.fields_of(user, NOTED)
        was = {name: form.initial.get(name, now[name]) for name in NOTED} | {"roles": roles_before}
        now["roles"] = sorted(user.groups.values_list("name", flat=True))
        before, after = audit.changes(was, now)
        name = user.get_username()
        if not change:
            audit.record(actor=actor_of(request), action="user.created", subject=name, after=now)
        elif after:
            audit.record(actor=actor_of(request), action="user.changed", subject=name, before=before, after=after)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:  # noqa: A002
        """Set somebody's password, which is written down, too."""
        with transaction.atomic():
            user: Any = self.get_object(request, unquote(id)) if request.method == "POST" else None
            before = user.password if user else ""
            response = super().user_change_password(request, id, form_url)
            if user:
                user.refresh_from_db(fields=["password"])
                if user.password != before:
                    audit.record(actor=actor_of(request), action="user.password_set", subject=user.get_username())
            return response

    def has_reset_permission(self, request: HttpRequest) -> bool:
        """Whoever may take an authenticator off."""
        return request.user.has_perm("mfa.delete_authenticator")

    @admin.action(description="Take the second factor of selected users off", permissions=["reset"])
    def reset_second_factor(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """By the service that the command calls, too; of superusers by superusers only."""
        chosen = [user for user in queryset if self.has_change_permission(request, user)]
        for user in chosen:
            reset_second_factor(user=user, actor=actor_of(request))
        self.message_user(request, f"{len(chosen)} user(s) have no second factor")


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, unfold.ModelAdmin):
    """The roles, which stay, and further groups, which a superuser may make."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Not of the roles."""
        return (obj is None or obj.name not in ROLES) and super().has_delete_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A role that had another name would be gone, too."""
        fields = super().get_readonly_fields(request, obj)
        return (*fields, "name") if obj is not None and obj.name in ROLES else fields

    def save_related(self, request: HttpRequest, form: forms.ModelForm, formsets: Any, change: bool) -> None:
        """Save, and write into the audit log what the group may now."""
        group = form.instance
        was = _shown(group) | {"name": form.initial.get("name", group.name)}
        super().save_related(request, form, formsets, change)
        now = _shown(group)
        before, after = audit.changes(was, now)
        if not change:
            audit.record(actor=actor_of(request), action="role.created", subject=group.name, after=now)
        elif after:
            audit.record(actor=actor_of(request), action="role.changed", subject=group.name, before=before, after=after)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """And write down what it was."""
        with transaction.atomic():
            audit.record(actor=actor_of(request), action="role.deleted", subject=obj.name, before=_shown(obj))
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """The same, of several."""
        with transaction.atomic():
            for group in queryset:
                self.delete_model(request, group)


@admin.register(Authenticator)
class AuthenticatorAdmin(ReadOnlyAdmin):
    """Who has a second factor; never its secret."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = ("type",)
    list_select_related = ("user",)
    search_fields = ("user__username",)
    secret_fields = ("data",)
    fields = list_display


def _lacking(request: HttpRequest) -> list[int]:
    """The permissions that the user does not have."""
    own = request.user.get_all_permissions()
    rows = Permission.objects.values_list("pk", "content_type__app_label", "codename")
    return [pk for pk, app_label, codename in rows if f"{app_label}.{codename}" not in own]


def _shown(group: Group) -> dict[str, Any]:
    """Of a group, what the audit log has."""
    rows = group.permissions.values_list("content_type__app_label", "codename")
    return {"name": group.name, "permissions": sorted(f"{app_label}.{codename}" for app_label, codename in rows)}


_change_own_password = admin.site.password_change


def change_own_password(request: HttpRequest, extra_context: Any = None) -> HttpResponse:
    """Change one's own password, which is written down, too."""
    with transaction.atomic():
        response = _change_own_password(request, extra_context)
        if request.method == "POST" and response.status_code == HTTPStatus.FOUND:
            audit.record(actor=actor_of(request), action="user.password_changed", subject=request.user.get_username())
        return response


admin.site.password_change = change_own_password  # type: ignore[method-assign, assignment]
