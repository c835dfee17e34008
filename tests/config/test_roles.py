"""The roles are what the documentation says, and whoever manages people does not make superusers."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.urls import reverse

from config.console.hints import HINTS
from config.console.roles import ROLES, sync_roles
from config.console.theme import NAVIGATION
from tenancy.models import AuditEntry
from tests.config.test_admin import MODELS
from tests.support.admin import AdminClient, form_of

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()


def names(role: str) -> set[str]:
    found = Group.objects.get(name=role).permissions.select_related("content_type")
    return {f"{permission.content_type.app_label}.{permission.codename}" for permission in found}


@pytest.fixture
def roles(db: None) -> None:
    sync_roles()


def in_role(role: str, name: str = "worker") -> AdminClient:
    client = AdminClient([], name=name)
    User.objects.get(username=name).groups.add(Group.objects.get(name=role))
    return client


def test_a_viewer_may_view_every_model_and_no_more(roles: None) -> None:
    assert names("viewer") == {f"{model._meta.app_label}.view_{model._meta.model_name}" for model in MODELS}


def test_each_role_may_what_a_viewer_may_and_an_admin_what_all_may(roles: None) -> None:
    for role in ROLES:
        assert names("viewer") <= names(role) <= names("admin")


def test_syncing_again_takes_back_what_was_added_by_hand(roles: None) -> None:
    before = {role: names(role) for role in ROLES}
    Group.objects.get(name="viewer").permissions.set(Permission.objects.all())
    call_command("sync_roles", stdout=io.StringIO())
    assert {role: names(role) for role in ROLES} == before


def test_a_permission_is_named_as_django_names_it(roles: None) -> None:
    """Else Django's own, after a migration, would be a second one."""
    call_command("migrate", verbosity=0)
    assert Permission.objects.filter(codename="suspend_team").count() == 1
    assert Permission.objects.get(codename="suspend_team").name == "Can suspend team"


def test_the_documentation_has_every_role(roles: None) -> None:
    for role in ROLES:
        assert f"| `{role}` |" in DOCUMENT


def test_an_admin_makes_users_and_gives_roles_but_no_superusers(roles: None) -> None:
    client = in_role("admin")
    password = "correct horse battery"
    fields = {"username": "new", "usable_password": "true", "password1": password, "password2": password}
    assert client.post("auth_user_add", **fields).status_code == 302
    new = User.objects.get(username="new")
    form = form_of(client, "auth_user_change", new.pk)
    group = Group.objects.get(name="support")
    client.post("auth_user_change", new.pk, **form | {"is_staff": "on", "is_superuser": "on", "groups": [group.pk]})
    new.refresh_from_db()
    assert (new.is_staff, new.is_superuser, list(new.groups.all())) == (True, False, [group])
    made, changed = AuditEntry.objects.filter(subject="new").order_by("id")
    assert (made.action, made.actor) == ("user.created", "console:worker")
    assert changed.before == {"is_staff": False, "roles": []}
    assert changed.after == {"is_staff": True, "roles": ["support"]}


def test_an_admin_does_not_touch_a_superuser(roles: None) -> None:
    client = in_role("admin")
    root = User.objects.create_superuser("root", password="x")
    before = root.password
    for page in ("auth_user_change", "auth_user_password_change"):
        assert (
            client.post(page, root.pk, username="taken", password1="abcdefgh1", password2="abcdefgh1").status_code
            == 403
        )
    client.action("auth_user_changelist", "reset_second_factor", root.pk)
    root.refresh_from_db()
    assert (root.username, root.password) == ("root", before)


def test_a_password_set_for_somebody_is_written_down_and_not_shown(roles: None) -> None:
    client, bob = AdminClient(name="ann"), User.objects.create_user("bob", password="old")
    password = "correct horse battery"
    form: dict[str, Any] = {"usable_password": "true", "password1": password, "password2": password}
    assert client.post("auth_user_password_change", bob.pk, **form).status_code == 302
    entry = AuditEntry.objects.get(action="user.password_set")
    assert (entry.actor, entry.subject) == ("console:ann", "bob")
    bob.refresh_from_db()
    assert bob.check_password(password)


def test_a_password_page_is_found_by_the_id_that_django_reads(roles: None) -> None:
    """Unquoted, "_0A7" is a line's end and 7: the audit log has it, and what is no user's id changes nothing."""
    client, bob = AdminClient(name="ann"), User.objects.create_user("bob", password="old")
    password = "correct horse battery"
    form: dict[str, Any] = {"usable_password": "true", "password1": password, "password2": password}
    assert client.post("auth_user_password_change", f"_0A{bob.pk}", **form).status_code == 302
    assert AuditEntry.objects.get(action="user.password_set").subject == "bob"
    assert client.post("auth_user_password_change", "none", **form).status_code == 404
    assert client.post("auth_user_password_change", bob.pk, **form | {"password2": "other"}).status_code == 200
    assert AuditEntry.objects.filter(action="user.password_set").count() == 1


def test_ones_own_new_password_is_written_down(roles: None) -> None:
    client = AdminClient(name="ann", password="old")
    new = {"new_password1": "correct horse battery", "new_password2": "correct horse battery"}
    assert client.post("password_change", old_password="wrong", **new).status_code == 200
    assert not AuditEntry.objects.filter(action="user.password_changed").exists()
    assert client.post("password_change", old_password="old", **new).status_code == 302
    entry = AuditEntry.objects.get(action="user.password_changed")
    assert (entry.actor, entry.subject) == ("console:ann", "ann")


def test_nobody_gives_a_group_that_may_more_or_touches_who_has_one(roles: None) -> None:
    client = AdminClient(["auth.view_user", "auth.change_user"], name="people")
    small, large = (Group.objects.create(name=name) for name in ("small", "large"))
    small.permissions.add(Permission.objects.get(codename="view_user"))
    large.permissions.add(*Permission.objects.filter(codename__in=["view_user", "delete_user"]))
    bob = User.objects.create_user("bob")
    form = form_of(client, "auth_user_change", bob.pk)
    assert client.post("auth_user_change", bob.pk, **form | {"groups": [large.pk]}).status_code == 200
    assert client.post("auth_user_change", bob.pk, **form | {"groups": [small.pk]}).status_code == 302
    assert list(bob.groups.all()) == [small]
    bob.groups.add(large)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    for page in ("auth_user_change", "auth_user_password_change"):
        assert client.post(page, bob.pk, **form).status_code == 403
    assert set(bob.groups.all()) == {small, large}


def test_what_becomes_of_a_group_is_written_down(roles: None) -> None:
    client = AdminClient(name="ann")
    view, add = (Permission.objects.get(codename=f"{verb}_user") for verb in ("view", "add"))
    client.post("auth_group_add", name="people", permissions=[view.pk])
    group = Group.objects.get(name="people")
    client.post("auth_group_change", group.pk, name="staff", permissions=[view.pk, add.pk])
    client.post("auth_group_delete", group.pk, post="yes")
    made, changed, deleted = AuditEntry.objects.filter(action__startswith="role.").order_by("id")
    assert (made.action, made.actor, made.after) == (
        "role.created",
        "console:ann",
        {"name": "people", "permissions": ["auth.view_user"]},
    )
    both = ["auth.add_user", "auth.view_user"]
    assert changed.before == {"name": "people", "permissions": ["auth.view_user"]}
    assert changed.after == {"name": "staff", "permissions": both}
    assert (deleted.action, deleted.before) == ("role.deleted", {"name": "staff", "permissions": both})


def test_a_role_is_neither_deleted_nor_renamed(roles: None) -> None:
    client, viewer = AdminClient(), Group.objects.get(name="viewer")
    other = Group.objects.create(name="other")
    assert client.post("auth_group_delete", viewer.pk, post="yes").status_code == 403
    client.post("auth_group_changelist", action="delete_selected", _selected_action=[viewer.pk, other.pk], post="yes")
    client.post("auth_group_change", viewer.pk, name="nobody")
    assert Group.objects.filter(name__in=[*ROLES, "other"]).count() == len(ROLES) + 1
    client.post("auth_group_changelist", action="delete_selected", _selected_action=[other.pk], post="yes")
    assert AuditEntry.objects.get(action="role.deleted").subject == "other"


def test_the_sidebar_leads_to_every_list_that_is_looked_at(roles: None) -> None:
    html = AdminClient().html("index")
    for label in (label for group in NAVIGATION.values() for label in group):
        if label in {"billing.refillupload", "modelgroups.providercredential"}:
            continue
        assert f'href="{reverse("admin:" + label.replace(".", "_") + "_changelist")}"' in html, label
    for link in ("/api/docs", "/health"):
        assert f'href="{link}"' in html
    assert reverse("admin:auth_user_changelist") not in in_role("viewer").html("index")


def test_an_empty_list_says_what_to_do_next(db: None) -> None:
    client = AdminClient()
    for model in MODELS:
        if model._default_manager.exists():
            continue
        hint = HINTS.get(model._meta.label_lower)
        if hint is None:
            continue
        html = client.html(f"{model._meta.app_label}_{model._meta.model_name}_changelist")
        assert "data-hint" in html, model
        assert hint.split(".")[0].split(",")[0] in html.replace("&#x27;", "'"), model
    assert "data-hint" not in client.html("tenancy_team_changelist", q="nothing")
