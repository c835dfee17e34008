"""Keys are made, rotated and revoked, by API and by command; nobody sees one twice."""

import re
import uuid
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from tenancy.models import OperatorKey, VirtualKey
from tenancy.queries.principals import hash_key
from tenancy.services.keys import ensure_operator_key
from tests.support.api import ApiClient, Tenant


def works(key: str, tenant: Tenant) -> bool:
    return bool(ApiClient(key).get(f"/api/teams/{tenant.team_id}").status_code == 200)


def command(*arguments: Any) -> str:
    out = StringIO()
    call_command(*[str(argument) for argument in arguments], stdout=out)
    return out.getvalue().strip()


def first_key(tenant: Tenant) -> VirtualKey:
    return VirtualKey.objects.get(key_hash=hash_key(tenant.key))


def test_a_key_has_256_bits_and_only_its_hash_is_stored(tenant: Tenant) -> None:
    assert re.fullmatch(r"sk-[A-Za-z0-9_-]{43}", tenant.key)
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(k)::text FROM tenancy_virtualkey k")
        stored = str(cursor.fetchall())
    assert tenant.key not in stored
    assert tenant.key[3:] not in stored
    assert first_key(tenant).last_four == tenant.key[-4:]


def test_a_team_may_have_several_keys(operator: ApiClient, tenant: Tenant) -> None:
    made = operator.post(f"/api/teams/{tenant.team_id}/keys", {"name": "second"}).json()

    assert works(made["virtual_key"], tenant)
    assert works(tenant.key, tenant)
    listed = operator.get(f"/api/teams/{tenant.team_id}/keys").json()["keys"]
    assert [key["name"] for key in listed] == ["second", "first key"]
    assert all("virtual_key" not in key for key in listed)


@pytest.mark.parametrize("grace_s", [0, 60])
def test_a_rotated_key_works_for_its_grace_period(operator: ApiClient, tenant: Tenant, grace_s: int) -> None:
    path = f"/api/teams/{tenant.team_id}/keys/{first_key(tenant).id}/rotate"
    made = operator.post(path, {"grace_seconds": grace_s}).json()

    assert works(made["virtual_key"], tenant)
    assert works(tenant.key, tenant) is (grace_s > 0)
    VirtualKey.objects.filter(key_hash=hash_key(tenant.key)).update(expires_at=timezone.now() - timedelta(minutes=1))
    assert not works(tenant.key, tenant)
    assert works(made["virtual_key"], tenant)


def test_a_key_is_rotated_once(operator: ApiClient, tenant: Tenant) -> None:
    path = f"/api/teams/{tenant.team_id}/keys/{first_key(tenant).id}/rotate"
    operator.post(path, {"grace_seconds": 60})

    again = operator.post(path, {"grace_seconds": 60})

    assert (again.status_code, again.json()["code"]) == (409, "key_already_revoked")
    assert VirtualKey.objects.count() == 2


def test_a_revoked_key_stops_at_once_and_for_good(operator: ApiClient, tenant: Tenant) -> None:
    key = first_key(tenant)
    path = f"/api/teams/{tenant.team_id}/keys/{key.id}/revoke"
    first, second = operator.post(path), operator.post(path)

    assert first.json() == second.json()
    assert not works(tenant.key, tenant)
    assert operator.post(f"/api/teams/{tenant.team_id}/keys/{key.id}/rotate").status_code == 409


def test_another_teams_key_is_not_found(operator: ApiClient, tenant: Tenant) -> None:
    answer = operator.post(f"/api/teams/team_other/keys/{first_key(tenant).id}/revoke")

    assert (answer.status_code, answer.json()["detail"]) == (404, "Key not found")
    assert works(tenant.key, tenant)


def test_the_commands_do_what_the_api_does(tenant: Tenant) -> None:
    new = command("rotate_key", tenant.team_id, first_key(tenant).id, "--grace", 60)
    assert works(new, tenant)
    assert works(tenant.key, tenant)

    assert command("revoke_key", tenant.team_id, VirtualKey.objects.get(key_hash=hash_key(new)).id).startswith(
        "revoked"
    )
    assert not works(new, tenant)
    with pytest.raises(CommandError, match="Key not found"):
        command("revoke_key", tenant.team_id, uuid.uuid4())


def test_operator_keys_are_made_by_a_command(tenant: Tenant) -> None:
    key = command("create_operator_key", "on call", "--scope", "read")

    assert ApiClient(key, header="X-Admin-Key").get(f"/api/teams/{tenant.team_id}").status_code == 200
    assert OperatorKey.objects.get().scopes == ["read"]
    with pytest.raises(CommandError, match="exists already"):
        command("create_operator_key", "on call")


def test_a_key_brought_from_outside_replaces_the_one_before(tenant: Tenant) -> None:
    for plaintext in ("first", "second", "second"):
        ensure_operator_key(name="env", plaintext=plaintext)

    def is_valid(plaintext: str) -> bool:
        client = ApiClient(plaintext, header="X-Admin-Key")
        return bool(client.get(f"/api/teams/{tenant.team_id}").status_code == 200)

    assert (is_valid("first"), is_valid("second")) == (False, True)
    ensure_operator_key(name="env", plaintext="first")
    assert (is_valid("first"), is_valid("second")) == (True, False)


def test_a_grace_period_is_limited(operator: ApiClient, tenant: Tenant) -> None:
    path = f"/api/teams/{tenant.team_id}/keys/{first_key(tenant).id}/rotate"
    for grace_s in (-1, 10**9, "60"):
        assert operator.post(path, {"grace_seconds": grace_s}).status_code == 400
    with time_machine.travel(timezone.now() + timedelta(days=1), tick=False):
        assert works(tenant.key, tenant)
