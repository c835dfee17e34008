"""What a team's key may be restricted and limited to: expiry, scopes, models, addresses; by API, and by nobody else."""

import json
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import AsyncClient, Client
from django.utils import timezone

from tenancy.models import AuditEntry, VirtualKey
from tenancy.queries.principals import hash_key
from tests.support.api import ApiClient, Tenant, make_operator, make_tenant
from tests.support.coroutines import run

JOB = "00000000-0000-4000-8000-000000000000"
SOON = "2099-01-01T00:00:00Z"
COROUTINES = ("/llm-call", "/create-and-call", "/chat/completions", "/completions", "/embeddings", "/responses")
TERMS: dict[str, Any] = {
    "expires_at": SOON,
    "scopes": ["read", "jobs"],
    "allowed_models": ["Group-a", "gpt-4o"],
    "allowed_ips": ["10.0.0.0/8", "2001:db8::/32"],
    "requests_per_minute": 600,
    "tokens_per_minute": 100_000,
    "max_calls_in_flight": 5,
}


def keys_path(tenant: Tenant) -> str:
    return f"/api/teams/{tenant.team_id}/keys"


def made(operator: ApiClient, tenant: Tenant, **terms: Any) -> Any:
    answer = operator.post(keys_path(tenant), terms)
    assert answer.status_code == 200, answer.content
    return answer.json()


def path_of(tenant: Tenant, key: Any) -> str:
    return f"{keys_path(tenant)}/{key['key_id']}"


def ask(key: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Of any call: those that are coroutines run on a loop of their own."""
    sent = {"Authorization": f"Bearer {key}", **headers}
    raw = json.dumps(body or {}).encode()
    if method != "POST" or not path.endswith(COROUTINES):
        return Client(headers=sent).generic(method, path, raw, content_type="application/json")
    return run(lambda: AsyncClient().post(path, raw, content_type="application/json", headers=sent))


def code(answer: Any) -> tuple[int, str]:
    body = answer.json()
    return answer.status_code, body.get("code") or body["error"]["code"]


# --- Set by operators -----------------------------------------------------------------------------------------


def test_a_key_is_made_with_terms_and_shows_them(operator: ApiClient, tenant: Tenant) -> None:
    key = made(operator, tenant, name="narrow", **TERMS)

    assert {name: key[name] for name in TERMS} == TERMS
    listed = operator.get(keys_path(tenant)).json()["keys"][0]
    assert {name: listed[name] for name in TERMS} == TERMS
    entry = AuditEntry.objects.get(action="key.created", subject=key["key_id"])
    assert entry.after is not None
    assert entry.after["tokens_per_minute"] == 100_000
    assert entry.after["scopes"] == ["read", "jobs"]


def test_a_key_without_terms_is_restricted_to_nothing(operator: ApiClient, tenant: Tenant) -> None:
    assert {made(operator, tenant)[name] for name in TERMS} == {None}


def test_a_change_is_of_what_is_named_and_leaves_an_entry(operator: ApiClient, tenant: Tenant) -> None:
    key = made(operator, tenant, **TERMS)

    changed = operator.patch(path_of(tenant, key), {"scopes": None, "tokens_per_minute": 5}).json()

    assert {name: changed[name] for name in TERMS} == {**TERMS, "scopes": None, "tokens_per_minute": 5}
    entry = AuditEntry.objects.get(action="key.changed")
    assert entry.before == {"scopes": ["read", "jobs"], "tokens_per_minute": 100_000}
    assert entry.after == {"scopes": None, "tokens_per_minute": 5}
    assert entry.subject == key["key_id"]


def test_a_change_that_changes_nothing_leaves_no_entry(operator: ApiClient, tenant: Tenant) -> None:
    key = made(operator, tenant, **TERMS)
    for body in ({}, TERMS, {"unknown": 1}):
        assert operator.patch(path_of(tenant, key), body).status_code == 200
    assert not AuditEntry.objects.filter(action="key.changed").exists()


def test_networks_and_names_are_kept_once_each_in_one_form(operator: ApiClient, tenant: Tenant) -> None:
    key = made(
        operator,
        tenant,
        scopes=["direct", "read", "direct"],
        allowed_models=["b", "a", "b"],
        allowed_ips=["10.1.2.3/8", "10.0.0.0/8", "::ffff:192.0.2.0/120", "192.0.2.7", "2001:DB8::1"],
    )

    assert key["scopes"] == ["read", "direct"]
    assert key["allowed_models"] == ["b", "a"]
    assert key["allowed_ips"] == ["10.0.0.0/8", "192.0.2.0/24", "192.0.2.7/32", "2001:db8::1/128"]


NASTY: list[tuple[str, Any]] = [
    ("expires_at", "2020-01-01T00:00:00Z"), ("expires_at", "soon"), ("expires_at", 5), ("expires_at", []),
    ("expires_at", "0001-01-01T00:00:00+14:00"), ("expires_at", "9999-12-31T23:59:59-14:00"),
    ("scopes", []), ("scopes", ["admin"]), ("scopes", "read"), ("scopes", [["read"]]), ("scopes", {"read": 1}),
    ("scopes", [None]), ("scopes", [True]), ("scopes", ["read"] * 257),
    ("allowed_models", []), ("allowed_models", [""]), ("allowed_models", [5]), ("allowed_models", ["x" * 256]),
    ("allowed_models", "gpt-4o"), ("allowed_models", ["x"] * 257), ("allowed_models", [None]),
    ("allowed_models", ["a\0b"]), ("allowed_models", ["\ud800"]),
    ("allowed_ips", []), ("allowed_ips", ["everywhere"]), ("allowed_ips", ["10.0.0.0/33"]), ("allowed_ips", [10]),
    ("allowed_ips", ["300.0.0.1"]), ("allowed_ips", "10.0.0.0/8"), ("allowed_ips", ["10.0.0.0/8/8"]),
    ("allowed_ips", ["fe80::1%eth0"]), ("allowed_ips", ["10.0.0.0/" + "9" * 50]), ("allowed_ips", [None]),
    ("allowed_ips", [f"10.0.0.{number}" for number in range(65)]), ("allowed_ips", ["١٠.0.0.0/8"]),
    ("requests_per_minute", 0), ("requests_per_minute", -1), ("requests_per_minute", 2**31),
    ("requests_per_minute", 10**30), ("requests_per_minute", "5"), ("requests_per_minute", 1.5),
    ("requests_per_minute", True), ("tokens_per_minute", 0), ("tokens_per_minute", []), ("max_calls_in_flight", 0),
    ("max_calls_in_flight", {}),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), NASTY)
def test_terms_that_make_no_sense_are_refused(operator: ApiClient, tenant: Tenant, field: str, value: Any) -> None:
    first = VirtualKey.objects.get()
    body = json.dumps({field: value}).encode()

    for answer in (
        operator.post(keys_path(tenant), body),
        operator.patch(f"{keys_path(tenant)}/{first.id}", body),
    ):
        assert code(answer) == (400, "invalid_request"), answer.content
        assert field in answer.json()["detail"] or "JSON" in answer.json()["detail"]

    assert VirtualKey.objects.get() == first
    assert not AuditEntry.objects.filter(action="key.changed").exists()


@pytest.mark.parametrize("body", [b"[]", b"5", b'"x"', b"{", b"null"])
def test_a_body_that_is_no_object_is_refused(operator: ApiClient, tenant: Tenant, body: bytes) -> None:
    key = VirtualKey.objects.get()
    for path in (f"{keys_path(tenant)}/{key.id}", f"/api/teams/{tenant.team_id}/limits"):
        assert operator.patch(path, body).status_code == 400


def test_only_operators_who_may_provision_change_keys_and_limits(tenant: Tenant) -> None:
    other, reader = make_tenant("b"), make_operator("reader", ["read"])
    key = f"{keys_path(tenant)}/{VirtualKey.objects.get(key_hash=hash_key(tenant.key)).id}"
    for path in (key, f"/api/teams/{tenant.team_id}/limits"):
        assert code(tenant.api.patch(path, {"tokens_per_minute": 5})) == (403, "operator_required")
        assert code(other.api.patch(path, {"tokens_per_minute": 5})) == (403, "operator_required")
        assert code(reader.patch(path, {"tokens_per_minute": 5})) == (403, "insufficient_scope")
        assert ApiClient().patch(path, {"tokens_per_minute": 5}).status_code == 401
    assert not VirtualKey.objects.exclude(tokens_per_minute=None).exists()


def test_a_key_of_another_team_or_of_nobody_is_not_found(operator: ApiClient, tenant: Tenant) -> None:
    other, key = make_tenant("b"), VirtualKey.objects.get(key_hash=hash_key(tenant.key))
    for path in (f"{keys_path(other)}/{key.id}", f"{keys_path(tenant)}/{JOB}", f"/api/teams/nobody/keys/{key.id}"):
        assert operator.patch(path, {"scopes": ["read"]}).status_code == 404


@pytest.mark.parametrize("how", ["revoke", "rotate"])
def test_a_key_that_is_revoked_or_replaced_is_changed_no_more(operator: ApiClient, tenant: Tenant, how: str) -> None:
    key = made(operator, tenant)
    operator.post(f"{path_of(tenant, key)}/{how}", {"grace_seconds": 60} if how == "rotate" else {})

    assert code(operator.patch(path_of(tenant, key), {"expires_at": None})) == (409, "key_already_revoked")


def test_rotation_keeps_the_terms_and_does_not_prolong_the_old_key(operator: ApiClient, tenant: Tenant) -> None:
    soon = (timezone.now() + timedelta(seconds=30)).isoformat().replace("+00:00", "Z")
    key = made(operator, tenant, **{**TERMS, "expires_at": soon})

    new = operator.post(f"{path_of(tenant, key)}/rotate", {"grace_seconds": 3600}).json()

    assert {name: new[name] for name in TERMS} == {**TERMS, "expires_at": soon}
    old = VirtualKey.objects.get(id=key["key_id"])
    assert old.expires_at is not None
    assert old.expires_at.isoformat().replace("+00:00", "Z") == soon


# --- Expiry ---------------------------------------------------------------------------------------------------


def test_an_expired_key_is_as_a_revoked_one_until_it_is_prolonged(operator: ApiClient, tenant: Tenant) -> None:
    key = made(operator, tenant, expires_at=(timezone.now() + timedelta(hours=1)).isoformat())
    client = ApiClient(key["virtual_key"])
    own = f"/api/teams/{tenant.team_id}"
    assert client.get(own).status_code == 200

    VirtualKey.objects.filter(id=key["key_id"]).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert code(client.get(own)) == (401, "invalid_api_key")
    assert code(client.get("/v1/models")) == (401, "invalid_api_key")
    with time_machine.travel(timezone.now() + timedelta(days=1), tick=True):
        answer = operator.patch(path_of(tenant, key), {"expires_at": None})
    assert answer.status_code == 200
    assert client.get(own).status_code == 200


def test_a_key_does_not_work_for_ever(operator: ApiClient, tenant: Tenant) -> None:
    answer = operator.post(f"/api/teams/{tenant.team_id}/keys", {"expires_at": "9999-12-31T23:59:59Z"})
    assert code(answer) == (400, "invalid_request")
    assert "within 100 years" in answer.content.decode()


# --- Scopes ---------------------------------------------------------------------------------------------------

READS = [
    "/api/teams/team_a", "/api/teams/team_a/jobs", "/api/teams/team_a/usage", "/api/teams/team_a/limits",
    "/api/teams/team_a/statement", "/api/credits/teams/team_a/balance", "/api/credits/teams/team_a/transactions",
    "/api/credits/teams/team_a/refill-policy", f"/api/jobs/{JOB}", f"/api/jobs/{JOB}/calls", "/api/model-groups",
    "/api/model-groups/Group-a", "/api/model-groups/Group-a/resolve", "/api/webhooks", f"/api/webhooks/{JOB}",
    f"/api/webhooks/{JOB}/deliveries", "/api/teams/team_a/users", "/api/teams/team_a/users/bob",
    "/api/teams/team_a/users/bob/usage",
]  # fmt: skip
DEEDS = [
    "/api/jobs/create", "/api/jobs/create-and-call", f"/api/jobs/{JOB}/llm-call", f"/api/jobs/{JOB}/complete",
    "/api/credits/teams/team_a/check",
]  # fmt: skip
#: Whoever changes an endpoint reads by it, too.
BOTH = [
    ("POST", "/api/webhooks"), ("POST", f"/api/webhooks/{JOB}/rotate"), ("POST", f"/api/webhooks/{JOB}/test"),
    ("POST", f"/api/webhooks/{JOB}/replay"), ("PATCH", f"/api/webhooks/{JOB}"), ("DELETE", f"/api/webhooks/{JOB}"),
]  # fmt: skip
DIRECT = ["/v1/chat/completions", "/completions", "/v1/embeddings", "/responses"]
EITHER = [(f"/api/jobs/{JOB}/calls/{JOB}", {"read", "jobs"}), ("/v1/models", {"read", "direct"})]
EITHER += [("/models/gpt-4o", {"read", "direct"})]
ASKS = [
    *[("GET", path, {"read"}) for path in READS],
    *[("POST", path, {"jobs"}) for path in DEEDS],
    *[("POST", path, {"direct"}) for path in DIRECT],
    *[("GET", path, scopes) for path, scopes in EITHER],
    *[(method, path, set()) for method, path in BOTH],
    ("PATCH", "/api/teams/team_a/users/bob", {"jobs"}),
    ("DELETE", "/api/teams/team_a/users/bob", {"jobs"}),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scope", ["read", "jobs", "direct"])
def test_a_key_does_what_its_scope_says_and_nothing_else(scope: str) -> None:
    """Every call that a team's key may make at all."""
    operator, tenant = make_operator(), make_tenant()
    key = made(operator, tenant, scopes=[scope])["virtual_key"]
    for method, path, needed in ASKS:
        answer = ask(key, method, path)
        is_refused = "lacks the scope" in answer.content.decode()
        assert is_refused == (scope not in needed), (method, path, answer.content)
        if is_refused:
            assert code(answer) == (403, "insufficient_scope")


@pytest.mark.django_db(transaction=True)
def test_webhooks_are_changed_by_a_key_that_may_read_and_act() -> None:
    key = made(make_operator(), make_tenant(), scopes=["read", "jobs"])["virtual_key"]
    for method, path in BOTH:
        assert "lacks the scope" not in ask(key, method, path).content.decode(), path


@pytest.mark.django_db(transaction=True)
def test_a_call_in_a_job_by_openais_door_needs_both_scopes() -> None:
    tenant = make_tenant()
    key = made(make_operator(), tenant, scopes=["direct"])["virtual_key"]
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
    answer = ask(key, "POST", "/v1/chat/completions", body, **{"X-Job-Id": JOB})
    assert code(answer) == (403, "insufficient_scope")
    assert answer.json()["error"]["message"] == "This key lacks the scope 'jobs'"


# --- Models ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_key_names_the_models_that_it_is_allowed_and_no_others() -> None:
    tenant = make_tenant()
    key = made(make_operator(), tenant, allowed_models=["gpt-4o", "elsewhere"])["virtual_key"]
    client = ApiClient(key)

    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["gpt-4o"]
    assert client.get("/v1/models/gpt-4o").status_code == 200
    assert client.get("/v1/models/gpt-4o-mini").status_code == 404
    resolved = client.get("/api/model-groups/Group-a/resolve").json()
    assert (resolved["team_has_access"], resolved["primary_model"]) == (False, None)
    messages = [{"role": "user", "content": "x"}]
    job = client.post("/api/jobs/create", {"team_id": tenant.team_id, "job_type": "x"}).json()["job_id"]
    direct = ask(key, "POST", "/v1/chat/completions", {"model": "Group-a", "messages": messages})
    assert code(direct) == (403, "model_not_allowed")
    assert direct.json()["error"]["message"] == "This key may not use 'Group-a'"
    in_job = ask(key, "POST", f"/api/jobs/{job}/llm-call", {"model_group": "Group-a", "messages": messages})
    assert code(in_job) == (403, "model_not_allowed")
    both = {"team_id": tenant.team_id, "job_type": "x", "model_group": "Group-a", "messages": messages}
    assert code(ask(key, "POST", "/api/jobs/create-and-call", both)) == (403, "model_not_allowed")
    # It is allowed by the key, and still not the team's.
    foreign = ask(key, "POST", "/v1/chat/completions", {"model": "elsewhere", "messages": messages})
    assert code(foreign) == (403, "model_access_denied")


# --- Addresses ------------------------------------------------------------------------------------------------


def from_address(key: str, address: str, **headers: str) -> Any:
    client = Client(REMOTE_ADDR=address, headers={"Authorization": f"Bearer {key}", **headers})
    return client.get("/api/teams/team_a")


def test_a_key_works_from_its_networks_and_from_nowhere_else(operator: ApiClient, tenant: Tenant) -> None:
    key = made(operator, tenant, allowed_ips=["10.0.0.0/8", "2001:db8::/32"])["virtual_key"]

    for address in ("10.9.8.7", "::ffff:10.9.8.7", "2001:db8::5"):
        assert from_address(key, address).status_code == 200, address
    for address in ("11.0.0.1", "2001:db9::5", "127.0.0.1", "-", "", "::ffff:11.0.0.1"):
        assert code(from_address(key, address)) == (403, "address_not_allowed"), address
    # What a client says of itself is not looked at.
    assert code(from_address(key, "11.0.0.1", **{"X-Forwarded-For": "10.0.0.1"})) == (403, "address_not_allowed")
    assert from_address(tenant.key, "11.0.0.1").status_code == 200


def test_behind_proxies_the_address_is_what_the_outermost_of_them_saw(
    operator: ApiClient, tenant: Tenant, settings: Any
) -> None:
    key = made(operator, tenant, allowed_ips=["10.0.0.0/8"])["virtual_key"]
    settings.TRUSTED_PROXIES = 2

    def status(forwarded_for: str) -> int:
        return int(from_address(key, "192.0.2.1", **{"X-Forwarded-For": forwarded_for}).status_code)

    assert status("10.0.0.1, 192.0.2.9") == 200
    assert status("11.0.0.1, 10.0.0.1, 192.0.2.9") == 200
    # The client's own words, and a request that has gone past a proxy.
    assert status("10.0.0.1, 11.0.0.1, 192.0.2.9") == 403
    assert status("10.0.0.1") == 403
    assert status("") == 403
    assert status("nonsense, 192.0.2.9") == 403


# --- A team's limits ------------------------------------------------------------------------------------------


def test_a_teams_limits_are_set_by_operators_and_read_by_the_team(operator: ApiClient, tenant: Tenant) -> None:
    path = f"/api/teams/{tenant.team_id}/limits"
    unset = {"requests_per_minute": None, "tokens_per_minute": None, "max_calls_in_flight": None}
    default = {**unset, "max_calls_in_flight": 2000}
    of_users = {"user_requests_per_minute": None, "user_tokens_per_minute": None}
    assert tenant.api.get(path).json() == {"team_id": "team_a", **unset, **of_users, "in_force": default}

    changed = operator.patch(path, {"requests_per_minute": 600, "max_calls_in_flight": 7}).json()

    wanted = {"requests_per_minute": 600, "tokens_per_minute": None, "max_calls_in_flight": 7}
    assert changed == {"team_id": "team_a", **wanted, **of_users, "in_force": wanted}
    assert tenant.api.get(path).json() == operator.get(path).json() == changed
    entry = AuditEntry.objects.get(action="team.limits_changed")
    assert entry.before == {"requests_per_minute": None, "max_calls_in_flight": None}
    assert entry.after == {"requests_per_minute": 600, "max_calls_in_flight": 7}
    operator.patch(path, {"requests_per_minute": 600})
    operator.patch(path, {})
    assert AuditEntry.objects.filter(action="team.limits_changed").count() == 1
    assert operator.patch(path, {"requests_per_minute": None}).json()["requests_per_minute"] is None
    assert operator.patch(path, {"user_tokens_per_minute": 9}).json()["user_tokens_per_minute"] == 9
    assert AuditEntry.objects.latest("id").after == {"user_tokens_per_minute": 9}


def test_defaults_are_in_force_where_a_team_has_no_limit_of_its_own(tenant: Tenant, settings: Any) -> None:
    settings.TEAM_REQUESTS_PER_MINUTE, settings.TEAM_TOKENS_PER_MINUTE = 60, 9000
    in_force = tenant.api.get(f"/api/teams/{tenant.team_id}/limits").json()["in_force"]
    assert in_force == {"requests_per_minute": 60, "tokens_per_minute": 9000, "max_calls_in_flight": 2000}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, value in NASTY if field.endswith(("_minute", "_flight"))]
)
def test_limits_that_make_no_sense_are_refused(operator: ApiClient, tenant: Tenant, field: str, value: Any) -> None:
    answer = operator.patch(f"/api/teams/{tenant.team_id}/limits", {field: value})
    assert code(answer) == (400, "invalid_request")
    assert not AuditEntry.objects.filter(action="team.limits_changed").exists()


def test_a_teams_limits_are_nobody_elses_business(tenant: Tenant) -> None:
    assert code(make_tenant("b").api.get(f"/api/teams/{tenant.team_id}/limits")) == (403, "wrong_team")
    assert make_operator().patch("/api/teams/nobody/limits", {"tokens_per_minute": 1}).status_code == 404
