"""Getting into the console: staff only, with a second factor, a limit to guessing, and sessions that end."""

import base64
import io
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from allauth.socialaccount.models import SocialAccount
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import AsyncClient, Client
from django.urls import NoReverseMatch, reverse

from config.console.roles import sync_roles
from config.console.users import reset_second_factor
from tenancy.models import AuditEntry
from tests.support.fake_identity import IdentityProvider, identity_provider

PASSWORD = "correct horse battery"
LOGIN, CONSOLE = "/accounts/login/", "/admin/"


@pytest.fixture
def ann(db: None) -> User:
    return User.objects.create_superuser("ann", password=PASSWORD)


def log_in(client: Client, name: str = "ann", password: str = PASSWORD, **headers: Any) -> Any:
    return client.post(LOGIN, {"login": name, "password": password, "next": CONSOLE}, **headers)


def code_of(secret: str, *, steps: int = 0) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps))


def enrol(client: Client) -> str:
    """Set the second factor of who is logged in; returns its secret."""
    assert client.get("/accounts/2fa/totp/activate/").status_code == 200
    secret = client.session["mfa.totp.secret"]
    response = client.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})
    assert response.status_code == 302, response.content
    return str(secret)


def is_in(client: Client) -> bool:
    return client.get(CONSOLE).status_code == 200


def test_the_console_leads_to_the_log_in_and_back(ann: User) -> None:
    client = Client()
    page = client.get(CONSOLE, follow=True)
    assert page.redirect_chain[-1][0] == f"{LOGIN}?next=%2Fadmin%2F"
    html = page.content.decode()
    assert "Job credits" in html
    assert "unfold/css/styles.css" in html
    assert "ign up" not in html
    assert log_in(client).headers["Location"] == CONSOLE
    assert is_in(client)


def test_a_wrong_password_lets_nobody_in(ann: User) -> None:
    client = Client()
    assert log_in(client, password="wrong").status_code == 200
    assert not is_in(client)


def test_who_is_no_staff_is_told_so(db: None) -> None:
    User.objects.create_user("bob", password=PASSWORD)
    client = Client()
    assert log_in(client, "bob").headers["Location"] == "/accounts/inactive/"
    assert "No access" in client.get("/accounts/inactive/").content.decode()
    assert not is_in(client)


def test_guessing_ends_after_five_times_and_it_is_kept_in_postgresql(ann: User) -> None:
    for attempt in range(5):
        log_in(Client(), password="wrong", REMOTE_ADDR=f"10.0.0.{attempt}")
    client = Client()
    assert log_in(client, REMOTE_ADDR="10.0.0.9").status_code == 200
    assert not is_in(client)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM console_cache")
        assert cursor.fetchone()[0] > 0
    cache.clear()
    log_in(client, REMOTE_ADDR="10.0.0.9")
    assert is_in(client)


def test_one_address_guesses_ten_names_at_most(ann: User) -> None:
    for attempt in range(10):
        log_in(Client(), f"nobody{attempt}", "wrong")
    client = Client()
    log_in(client)
    assert not is_in(client)
    log_in(client, REMOTE_ADDR="10.0.0.1")
    assert is_in(client)


def test_who_posts_too_often_gets_a_page_that_says_so(ann: User) -> None:
    responses = [Client().post(LOGIN, {}) for _ in range(31)]
    assert responses[-1].status_code == 429
    assert "Too many attempts" in responses[-1].content.decode()


def test_a_client_is_not_believed_who_it_is(ann: User, settings: Any) -> None:
    """Unless as many proxies as the settings say stand between."""
    for attempt in range(10):
        log_in(Client(), f"nobody{attempt}", "wrong", HTTP_X_FORWARDED_FOR=f"10.0.0.{attempt}")
    client = Client()
    log_in(client, HTTP_X_FORWARDED_FOR="10.0.0.99")
    assert not is_in(client)
    settings.TRUSTED_PROXIES = 1
    for header in ("", ",", "1.1.1.1, 10.0.0.99"):
        assert log_in(client, "nobody", "wrong", HTTP_X_FORWARDED_FOR=header).status_code == 200
    log_in(client, HTTP_X_FORWARDED_FOR="1.1.1.1, 10.0.0.99")
    assert is_in(client)


@pytest.mark.parametrize("name", ["account_signup", "account_email", "account_reset_password", "socialaccount_signup"])
def test_there_is_no_sign_up_and_no_way_in_by_mail(name: str) -> None:
    with pytest.raises(NoReverseMatch):
        reverse(name)


@pytest.mark.parametrize("path", ["signup/", "email/", "password/reset/", "3rdparty/", "3rdparty/signup/"])
def test_nor_at_their_usual_addresses(ann: User, path: str) -> None:
    client = Client()
    assert client.get(f"/accounts/{path}").status_code == 404
    log_in(client)
    assert client.get(f"/accounts/{path}").status_code == 404


def test_the_admins_own_log_in_takes_no_password(ann: User) -> None:
    User.objects.create_user("bob", password=PASSWORD, is_staff=True)
    client = Client()
    log_in(client, "bob")
    client.post("/admin/login/", {"username": "ann", "password": PASSWORD, "next": CONSOLE})
    assert client.session["_auth_user_id"] == str(User.objects.get(username="bob").pk)
    stranger = Client()
    stranger.post("/admin/login/", {"username": "ann", "password": PASSWORD, "next": CONSOLE})
    assert not is_in(stranger)


def test_with_a_second_factor_the_password_is_not_enough(ann: User, django_capture_on_commit_callbacks: Any) -> None:
    client = Client()
    log_in(client)
    with django_capture_on_commit_callbacks(execute=True):
        secret = enrol(client)
    stored = Authenticator.objects.get(type="totp").data["secret"]
    assert secret not in stored
    assert secret not in base64.urlsafe_b64decode(stored).decode("latin-1")

    other = Client()
    assert log_in(other).headers["Location"].startswith("/accounts/2fa/authenticate/")
    assert not is_in(other)
    assert "Two-Factor" in other.get("/accounts/2fa/authenticate/").content.decode()
    other.post("/accounts/2fa/authenticate/", {"code": "000000"})
    assert not is_in(other)
    other.post("/accounts/2fa/authenticate/", {"code": code_of(secret, steps=1)})
    assert is_in(other)
    assert AuditEntry.objects.filter(action="user.second_factor_set", subject="ann", actor="console:ann").exists()


def test_a_recovery_code_lets_in_once(ann: User) -> None:
    client = Client()
    log_in(client)
    enrol(client)
    page = client.get("/accounts/2fa/recovery-codes/").content.decode()
    (code, *_) = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()
    assert code in page
    for expected in (True, False):
        other = Client()
        log_in(other)
        other.post("/accounts/2fa/authenticate/", {"code": code})
        assert is_in(other) is expected


def test_where_it_is_required_nobody_gets_further_without(ann: User, settings: Any) -> None:
    settings.CONSOLE_REQUIRE_MFA = True
    client = Client()
    log_in(client)
    for path in (CONSOLE, "/admin/tenancy/team/", "/admin/password_change/"):
        assert client.get(path).headers["Location"] == "/accounts/2fa/totp/activate/"
        assert client.post(path, {}).headers["Location"] == "/accounts/2fa/totp/activate/"
    enrol(client)
    assert is_in(client)
    client.post("/accounts/2fa/totp/deactivate/", {})
    assert Authenticator.objects.filter(type="totp").exists()


def test_a_lost_second_factor_can_be_taken_off_by_another(ann: User, settings: Any) -> None:
    client = Client()
    log_in(client)
    enrol(client)
    call_command("reset_second_factor", "ann", stdout=io.StringIO())
    assert not is_in(client)
    assert not Authenticator.objects.exists()
    assert AuditEntry.objects.filter(action="user.second_factor_reset", subject="ann").count() == 1
    reset_second_factor(user=ann, actor="x")
    assert AuditEntry.objects.filter(action="user.second_factor_reset").count() == 1
    with pytest.raises(CommandError):
        call_command("reset_second_factor", "nobody")


def test_a_session_ends_when_it_is_idle_or_old(ann: User, settings: Any) -> None:
    for name, age_s in (("seen", settings.CONSOLE_IDLE_S), ("began", settings.SESSION_COOKIE_AGE)):
        client = Client()
        log_in(client)
        assert is_in(client)
        session = client.session
        session[name] = int(time.time()) - age_s - 1
        session.save()
        assert not is_in(client), name
        assert not Session.objects.filter(session_key=session.session_key).exists()


def test_a_page_does_not_write_the_session_each_time(ann: User) -> None:
    client = Client()
    log_in(client)
    is_in(client)
    before = Session.objects.values().get()
    is_in(client)
    assert Session.objects.values().get() == before


def test_cookies_are_for_this_site_and_not_for_scripts(ann: User) -> None:
    client = Client()
    log_in(client)
    cookie = client.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["max-age"] == ""


def test_the_event_loop_serves_it_too(ann: User) -> None:
    """As config/asgi.py does, whose chain of middleware is put together otherwise."""
    client = AsyncClient()
    form = {"login": "ann", "password": PASSWORD, "next": CONSOLE}
    assert async_to_sync(client.post)(LOGIN, form).status_code == 302
    page = async_to_sync(client.get)(CONSOLE)
    assert page.status_code == 200
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]


def test_the_demo_has_a_log_in(db: None, tmp_path: Any, settings: Any) -> None:
    settings.DEBUG = True
    file = tmp_path / "credentials.json"
    found = []
    for _ in range(2):
        call_command("seed_demo", "--credentials-file", str(file), stdout=io.StringIO())
        found.append(json.loads(file.read_text()))
    assert found[0]["console_password"] == found[1]["console_password"]
    client = Client()
    log_in(client, found[0]["console_user"], found[0]["console_password"])
    assert is_in(client)


# --- Single sign-on -----------------------------------------------------------------------------------------


@pytest.fixture
def provider(settings: Any, db: None) -> Iterator[IdentityProvider]:
    sync_roles()
    with identity_provider() as provider:
        app: dict[str, Any] = {"provider_id": "provider", "name": "Our SSO", "client_id": "c", "secret": "s"}
        app |= {"settings": {"server_url": provider.url}}
        settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}
        settings.CONSOLE_OIDC_URL = provider.url
        yield provider


def sign_on(provider: IdentityProvider, **claims: Any) -> Client:
    provider.claims = {"sub": claims.get("email", "x"), **claims}
    client = Client()
    page = client.get(LOGIN)
    assert "Our SSO" in page.content.decode()
    assert f"form-action 'self' {provider.url}" in page.headers["Content-Security-Policy"]
    start = client.post("/accounts/sso/provider/login/")
    assert start.headers["Location"].startswith(f"{provider.url}/authorize")
    state = start.headers["Location"].split("state=")[1].split("&")[0]
    client.get("/accounts/sso/provider/login/callback/", {"code": "x", "state": state})
    return client


def test_single_sign_on_lets_in_staff_with_a_verified_address(provider: IdentityProvider, ann: User) -> None:
    User.objects.update(email="Ann@example.com")
    for _ in range(2):
        assert is_in(sign_on(provider, email="ann@example.com", email_verified=True))
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "ann@example.com"},
        {"email": "ann@example.com", "email_verified": False},
        {"email": "eve@example.com", "email_verified": True, "preferred_username": "ann"},
        {"groups": ["ops"]},
    ],
)
def test_single_sign_on_lets_in_nobody_else(provider: IdentityProvider, ann: User, claims: dict[str, Any]) -> None:
    User.objects.update(email="ann@example.com")
    client = sign_on(provider, **claims)
    assert not is_in(client)
    assert "Nobody of that name" in client.get(LOGIN).content.decode()
    assert User.objects.count() == 1


def test_what_goes_wrong_on_the_way_is_said(provider: IdentityProvider, ann: User, settings: Any) -> None:
    User.objects.update(email="ann@example.com")
    client = Client()
    for path in (
        "cancelled/",
        "error/",
        "provider/login/",
        "provider/login/callback/",
        "provider/login/callback/?state=x",
    ):
        assert client.get(f"/accounts/sso/{path}").status_code < 500, path
    assert client.get("/accounts/sso/other/login/").status_code == 404

    log_in(client)
    start = client.post("/accounts/sso/provider/login/?process=connect")
    state = start.headers["Location"].split("state=")[1].split("&")[0]
    provider.claims = {"sub": "ann", "email": "ann@example.com", "email_verified": True}
    answer = client.get("/accounts/sso/provider/login/callback/", {"code": "x", "state": state})
    assert answer.headers["Location"] == LOGIN
    assert not SocialAccount.objects.exists()

    app = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]
    app["settings"]["server_url"] = "http://127.0.0.1:1"
    page = Client().post("/accounts/sso/provider/login/", follow=True)
    assert "cannot be reached" in page.content.decode()
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": []}}
    assert client.post("/accounts/sso/provider/login/").status_code == 404


def test_single_sign_on_asks_for_the_second_factor_too(provider: IdentityProvider, ann: User, settings: Any) -> None:
    settings.CONSOLE_REQUIRE_MFA = True
    User.objects.update(email="ann@example.com")
    client = sign_on(provider, email="ann@example.com", email_verified=True)
    assert client.get(CONSOLE).headers["Location"] == "/accounts/2fa/totp/activate/"
    settings.CONSOLE_OIDC_HAS_MFA = True
    assert is_in(client)


def test_a_claim_gives_a_role_and_takes_it(provider: IdentityProvider, settings: Any) -> None:
    settings.CONSOLE_OIDC_ROLES = {"ops": "support", "money": "billing"}
    who = {"email": "bea@example.com", "email_verified": True, "preferred_username": "bea"}
    assert is_in(sign_on(provider, **who, groups=["ops", "other"]))
    bea = User.objects.get()
    assert (bea.username, bea.is_superuser, bea.has_usable_password()) == ("bea", False, False)
    assert [group.name for group in bea.groups.all()] == ["support"]
    sign_on(provider, **who, groups="money")
    assert [group.name for group in bea.groups.all()] == ["billing"]
    sign_on(provider, **who)
    assert not bea.groups.exists()
    assert AuditEntry.objects.filter(actor="sso", subject="bea").count() == 4
    assert Group.objects.filter(name="support").exists()
