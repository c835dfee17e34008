"""Over every address of the console: nothing acts on GET, and who may only look changes nothing."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from celery import Celery
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse
from django.urls.resolvers import RegexPattern

from config.console.roles import ROLES, sync_roles
from tenancy.models import VirtualKey
from tests.config.test_admin import make_world

LINK = re.compile(r'href="(/admin/[^"#]*)"')
#: What looking around may write: who is logged in, and Django's own notes.
NOT_LOOKED_AT = ("django_session", "django_admin_log", "console_cache")
#: What a form might ask for, whoever wrote it: enough to be taken for a real one.
PLAUSIBLE = {
    "post": "yes", "confirm": "yes", "_save": "Save", "_confirm": "yes", "apply": "yes", "submit": "yes",
    "index": "0", "reason": "because", "amount": "5", "credits": "5", "credits_amount": "5", "kind": "purchase",
    "status": "suspended", "name": "new", "organization_id": "new", "organization": "1", "team_id": "new",
    "team_alias": "new", "group_name": "new", "display_name": "new", "model_groups": "Group-a",
    "credits_allocated": "5", "metadata": "{}", "grace_seconds": "0", "grace_s": "0", "prompt": "Hello",
    "api_key": "sk-new", "username": "new", "password1": "a-long-password-1", "password2": "a-long-password-1",
    "old_password": "wrong", "usable_password": "true", "new_password1": "a-long-password-1",
    "new_password2": "a-long-password-1",
}  # fmt: skip


class Page:
    """An address of the console, with the model that it belongs to."""

    def __init__(self, path: str, model: type[models.Model] | None) -> None:
        self.path, self.model = path, model

    def __repr__(self) -> str:
        return self.path


def pages() -> list[Page]:
    """Every address that the admin's URLs make, with the first row of its model in it."""
    root = reverse("admin:index")
    found = []
    for route, model in _routes(admin.site.get_urls(), "", None):
        found += [Page(root + path, model) for path in _filled(route, model)]
    return found


def _routes(
    urls: list[Any], prefix: str, model: type[models.Model] | None
) -> Iterator[tuple[str, type[models.Model] | None]]:
    by_prefix = {f"{m._meta.app_label}/{m._meta.model_name}/": m for m in admin.site._registry}
    for entry in urls:
        route = prefix + _text(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _routes(entry.url_patterns, route, by_prefix.get(route, model))
        else:
            assert isinstance(entry, URLPattern)
            yield route, model


def _text(pattern: Any) -> str:
    return str(pattern).strip("^$") if isinstance(pattern, RegexPattern) else str(pattern)


def _filled(route: str, model: type[models.Model] | None) -> list[str]:
    if "app_label" in route:
        return [f"{app}/" for app in sorted({m._meta.app_label for m in admin.site._registry})]
    if route == "(?P<url>.*)":
        return ["nothing/like/this/"]
    if route.startswith("r/"):
        return [f"r/{ContentType.objects.get_for_model(VirtualKey).pk}/{VirtualKey.objects.first().pk}/"]  # type: ignore[union-attr]
    if "<" not in route:
        return [route]
    assert model is not None, route
    row = model._default_manager.order_by("pk").first()
    return [re.sub(r"<[^>]+>", str(row.pk if row else 1), route)]


def snapshot() -> dict[str, str]:
    """What is in every table, and by which transactions it was written."""
    tables = [name for name in connection.introspection.table_names() if name not in NOT_LOOKED_AT]
    each = [
        f"SELECT '{name}', coalesce(md5(string_agg(t.xmin::text || t::text, '|' ORDER BY t::text)), '') FROM {name} t"  # noqa: S608
        for name in tables
    ]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(each))
        return dict(cursor.fetchall())


def differences(before: dict[str, str]) -> list[str]:
    """The tables that are not as they were."""
    return sorted(name for name, digest in snapshot().items() if before[name] != digest)


def actions_of(model: type[models.Model]) -> list[str]:
    """The names of a list's actions, whoever may use them."""
    return [name for _, name, _ in admin.site._registry[model]._get_base_actions()]  # type: ignore[attr-defined]


@pytest.fixture
def world(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in every table; and nothing can be handed to a worker."""
    make_world("a")
    sync_roles()

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"a task was sent: {args}")

    monkeypatch.setattr(Celery, "send_task", refuse)


def logged_in(**fields: Any) -> Client:
    user = User.objects.create_user("somebody", is_staff=True, **fields)
    client = Client()
    client.force_login(user)
    client.get(reverse("admin:index"))
    return client


def viewer() -> Client:
    client = logged_in()
    User.objects.get(username="somebody").groups.add(Group.objects.get(name="viewer"))
    return client


def test_every_kind_of_page_is_walked(world: None) -> None:
    paths = {page.path for page in pages()}
    assert {"/admin/", "/admin/search/", "/admin/logout/", "/admin/billing/ledgercheck/verify/"} <= paths
    for model in admin.site._registry:
        name = f"{model._meta.app_label}/{model._meta.model_name}"
        assert sum(f"/{name}/" in path for path in paths) >= 5, name


def test_nothing_acts_on_get(world: None) -> None:
    client = logged_in(is_superuser=True)
    for page in pages():
        queries: list[dict[str, Any]] = [{}, {"post": "yes", "_save": "Save", "confirm": "yes"}]
        if page.model is not None and page.path.endswith(f"/{page.model._meta.model_name}/"):
            row = page.model._default_manager.first()
            selected = {"_selected_action": str(row.pk if row else 1), "post": "yes", "index": "0"}
            queries += [{"action": name, **selected} for name in actions_of(page.model)]
        before = snapshot()
        for query in queries:
            response = client.get(page.path, query)
            assert response.status_code < 500, page
        assert differences(before) == [], page


def test_a_viewer_sees_everything_of_ours(world: None) -> None:
    client = viewer()
    for model in admin.site._registry:
        if model._meta.app_label in ("tenancy", "modelgroups", "billing", "jobs"):
            page = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
            assert client.get(page).status_code == 200, page


def test_a_viewer_changes_nothing(world: None) -> None:
    client = viewer()
    before = snapshot()
    for page in pages():
        if page.path == reverse("admin:logout"):
            continue
        bodies: list[dict[str, Any]] = [{}, PLAUSIBLE]
        if page.model is not None:
            row = page.model._default_manager.first()
            selected = {**PLAUSIBLE, "_selected_action": str(row.pk if row else 1)}
            bodies += [{**selected, "action": name} for name in actions_of(page.model)]
        for body in bodies:
            response = client.post(page.path, body)
            assert response.status_code < 500, page
        assert differences(before) == [], page


def test_the_measure_notices_a_change(world: None) -> None:
    """Else the tests above would say nothing."""
    client, before = logged_in(is_superuser=True), snapshot()
    keys = reverse("admin:tenancy_virtualkey_changelist")
    key = VirtualKey.objects.first()
    assert key is not None
    client.post(keys, {"action": "revoke", "_selected_action": str(key.pk)})
    assert {"tenancy_auditentry", "tenancy_virtualkey"} <= set(differences(before))


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_offered_only_what_it_may(world: None, role: str) -> None:
    """Nobody but admins sees people, and nobody deletes anything of the business."""
    client = logged_in()
    User.objects.get(username="somebody").groups.add(Group.objects.get(name=role))
    assert client.get(reverse("admin:auth_user_changelist")).status_code == (200 if role == "admin" else 403)
    for page in pages():
        if page.path.endswith("/delete/") and "providercredential" not in page.path:
            assert client.get(page.path).status_code in (302, 403, 404), page


def test_the_api_documentation_and_the_console_load_nothing_from_elsewhere(world: None) -> None:
    client = logged_in(is_superuser=True)
    for path in ("/admin/", "/admin/tenancy/team/", "/accounts/2fa/", "/api/docs"):
        response = client.get(path)
        assert response.status_code == 200, path
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src 'self' 'unsafe-eval'" in policy
        assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
        assert "http" not in policy
        html = response.content.decode()
        # What the policy would stop: scripts and handlers in the page itself.
        scripts = re.findall(r"<script(?![^>]*(?:src=|type=\"application/json\"))[^>]*>", html)
        assert scripts == [], path
        assert re.findall(r"<[^>]+\son(?:click|load|change|submit|input)=", html) == [], path
        for source in re.findall(r'(?:src|href)="([^"]+)"', html):
            assert not source.startswith(("//", "http:", "https:")), source


@pytest.mark.parametrize("role", ["viewer", "billing"])
def test_no_link_leads_to_a_refusal(world: None, role: str) -> None:
    """What a page offers, its reader may open."""
    client = logged_in()
    User.objects.get(username="somebody").groups.add(Group.objects.get(name=role))
    log_out, asked, refused = reverse("admin:logout"), set(), []
    for page in pages():
        if page.path == log_out:
            continue
        answer = client.get(page.path)
        if answer.status_code != 200 or not answer["Content-Type"].startswith("text/html"):
            continue
        for address in map(unescape, LINK.findall(answer.content.decode())):
            path = address.partition("?")[0]
            if path not in asked and path != log_out:
                asked.add(path)
                if client.get(address).status_code == 403:
                    refused.append((page, address))
    assert refused == []
    assert len(asked) > 50
