"""What a key is restricted to, and what a team is limited to, in the console."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tenancy.models import AuditEntry, Team, VirtualKey
from tenancy.services.keys import change_virtual_key, create_virtual_key, revoke_virtual_key
from tests.support.admin import AdminClient, problems, sent
from tests.support.api import Tenant

PAGE = "tenancy_virtualkey_change_terms"
TERMS: dict[str, Any] = {
    "expires_at": "2099-01-01T12:30:00",
    "scopes": ["direct", "read"],
    "allowed_models": "Group-a\r\n gpt-4o \r\n\r\n",
    "allowed_ips": "10.1.0.0/8\n::1",
    "requests_per_minute": "600",
    "tokens_per_minute": "",
    "max_calls_in_flight": "5",
}


@pytest.fixture
def ann(db: None) -> AdminClient:
    return AdminClient(name="ann")


@pytest.fixture
def key(tenant: Tenant) -> VirtualKey:
    return create_virtual_key(team=Team.objects.get()).row


def test_a_key_is_made_with_terms(tenant: Tenant, ann: AdminClient) -> None:
    assert sent(ann, "tenancy_team_create_key", tenant.team_pk, name="narrow", **TERMS).status_code == 200

    row = VirtualKey.objects.get(name="narrow")
    assert row.expires_at is not None
    assert row.expires_at.isoformat() == "2099-01-01T12:30:00+00:00"
    assert (row.scopes, row.allowed_models) == (["read", "direct"], ["Group-a", "gpt-4o"])
    assert row.allowed_ips == ["10.0.0.0/8", "::1/128"]
    assert (row.requests_per_minute, row.tokens_per_minute, row.max_calls_in_flight) == (600, None, 5)


def test_a_key_is_restricted_as_the_form_says_with_an_entry(ann: AdminClient, key: VirtualKey) -> None:
    response = sent(ann, PAGE, key.pk, **TERMS, reason="Least privilege")
    assert response.headers["Location"] == f"/admin/tenancy/virtualkey/{key.pk}/change/"
    entry = AuditEntry.objects.latest("id")
    assert (entry.action, entry.actor, entry.reason) == ("key.changed", "console:ann", "Least privilege")
    assert entry.after is not None
    assert entry.after["scopes"] == ["read", "direct"]

    # Sent as it was shown, it changes nothing.
    form = ann.get(PAGE, key.pk).context["form"]
    shown = {name: form[name].value() or "" for name in TERMS}
    shown["expires_at"] = "2099-01-01T12:30:00"
    assert shown["allowed_ips"] == "10.0.0.0/8\n::1/128"
    sent(ann, PAGE, key.pk, **shown)
    assert AuditEntry.objects.latest("id") == entry
    sent(ann, PAGE, key.pk, **{**shown, "scopes": [], "allowed_models": ""})
    key.refresh_from_db()
    assert (key.scopes, key.allowed_models, key.requests_per_minute) == (None, None, 600)


def test_a_restriction_that_came_meanwhile_stays(ann: AdminClient, key: VirtualKey) -> None:
    """Her form still shows none, and she has not changed that."""
    form = ann.get(PAGE, key.pk).context["form"]
    values = {name: form[name].value() for name in TERMS if form[name].value()}
    shown = {f"{prefix}{name}": value for name, value in values.items() for prefix in ("", "initial-")}
    terms = {"allowed_ips": ["10.0.0.0/8"], "scopes": ["read"], "expires_at": timezone.now() + timedelta(days=1)}
    change_virtual_key(team_id=key.team.team_id, key_id=key.id, terms=terms, actor="bob")

    answer = ann.post(PAGE, key.pk, token=form["token"].value(), **{**shown, "requests_per_minute": "60"})

    assert answer.status_code == 302
    key.refresh_from_db()
    assert (key.allowed_ips, key.scopes, key.requests_per_minute) == (["10.0.0.0/8"], ["read"], 60)
    assert key.expires_at == terms["expires_at"]
    assert AuditEntry.objects.latest("id").after == {"requests_per_minute": 60}


def test_the_form_sends_along_what_it_was_opened_with(ann: AdminClient, key: VirtualKey) -> None:
    change_virtual_key(team_id=key.team.team_id, key_id=key.id, terms={"allowed_ips": ["10.0.0.0/8"]}, actor="bob")
    page = ann.get(PAGE, key.pk).content.decode()
    assert '<input type="hidden" name="initial-allowed_ips" value="10.0.0.0/8"' in page


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("expires_at", "2020-01-01T00:00:00", "must be in the future"),
        ("expires_at", "soon", "Enter a valid date/time"),
        ("scopes", ["admin"], "not one of the available choices"),
        ("allowed_models", "x" * 256, "of up to 255 characters"),
        ("allowed_models", "a\0b", "Null characters"),
        ("allowed_ips", "everywhere", "must be networks"),
        ("requests_per_minute", "0", "greater than or equal to 1"),
        ("tokens_per_minute", "9" * 30, "less than or equal to"),
    ],
)
def test_what_makes_no_sense_is_refused(
    ann: AdminClient, key: VirtualKey, field: str, value: Any, complaint: str
) -> None:
    before = VirtualKey.objects.values().get(pk=key.pk)
    assert complaint in problems(sent(ann, PAGE, key.pk, **{**TERMS, field: value}))
    assert VirtualKey.objects.values().get(pk=key.pk) == before


def test_a_revoked_key_is_changed_no_more(ann: AdminClient, key: VirtualKey) -> None:
    revoke_virtual_key(team_id=key.team.team_id, key_id=key.id)
    assert "already revoked" in problems(sent(ann, PAGE, key.pk, **TERMS))


def test_restricting_a_key_is_for_those_who_may_change_keys(key: VirtualKey) -> None:
    looks = AdminClient(["tenancy.view_virtualkey"])
    assert looks.get(PAGE, key.pk).status_code == 403
    assert looks.post(PAGE, key.pk, **TERMS).status_code == 403
    key.refresh_from_db()
    assert key.scopes is None


def test_a_teams_limits_are_on_its_page_and_in_the_audit_log(tenant: Tenant, ann: AdminClient) -> None:
    fields = {"team_alias": "a", "requests_per_minute": "60", "tokens_per_minute": "9000", "metadata": "{}"}
    assert ann.post("tenancy_team_change", tenant.team_pk, **fields).status_code == 302
    team = Team.objects.get()
    assert (team.requests_per_minute, team.tokens_per_minute) == (60, 9000)
    entry = AuditEntry.objects.latest("id")
    limits = {"requests_per_minute": None, "tokens_per_minute": None}
    assert (entry.action, entry.before) == ("team.limits_changed", limits)
    assert entry.after == {"requests_per_minute": 60, "tokens_per_minute": 9000}
    ann.post("tenancy_team_change", tenant.team_pk, **{**fields, "requests_per_minute": "0"})
    assert Team.objects.get().requests_per_minute == 60
