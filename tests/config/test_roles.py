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
