"""Who is let in, with which key, in which mode."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from billing.models import CreditAccount
from tenancy.models import Organization, Team, VirtualKey
from tenancy.queries.principals import Credentials, authenticate
from tests.support.api import ApiClient, Tenant, make_operator, make_tenant

JOB = "00000000-0000-4000-8000-000000000000"
#: What the guide prints without a header: open in open mode, and in no other.
OPEN_CALLS = [
    ("POST", "/api/organizations/create"),
    ("GET", "/api/organizations/org_a"),
    ("GET", "/api/organizations/org_a/teams"),
    ("GET", "/api/organizations/org_a/usage"),
    ("POST", "/api/model-groups/create"),
    ("GET", "/api/model-groups"),
    ("GET", "/api/model-groups/Group-a"),
    ("GET", "/api/model-groups/Group-a/models"),
    ("GET", "/api/model-groups/Group-a/resolve?team_id=team_a"),
    ("POST", "/api/teams/create"),
    ("GET", "/api/teams/team_a"),
    ("PUT", "/api/teams/team_a/model-groups"),
    ("GET", "/api/teams/team_a/usage"),
    ("GET", "/api/credits/teams/team_a/transactions"),
    ("GET", f"/api/jobs/{JOB}"),
]
KEYED_CALLS = [
    ("POST", "/api/jobs/create"),
    ("POST", f"/api/jobs/{JOB}/llm-call"),
    ("POST", f"/api/jobs/{JOB}/complete"),
    ("GET", "/api/credits/teams/team_a/balance"),
    ("POST", "/api/credits/teams/team_a/check"),
    ("POST", "/api/credits/teams/team_a/add"),
    ("GET", "/api/teams/team_a/jobs"),
    ("GET", "/api/teams/team_a/keys"),
    ("POST", "/api/teams/team_a/keys"),
    ("PUT", "/api/model-groups/Group-a/models"),
    ("DELETE", "/api/model-groups/Group-a"),
]


def request(method: str, path: str, *, address: str = "127.0.0.1", **headers: str) -> Any:
    client = Client(REMOTE_ADDR=address, headers=headers)
    return client.generic(method, path, b"[]" if method == "PUT" else b"{}", content_type="application/json")


@pytest.mark.parametrize(("method", "path"), OPEN_CALLS + KEYED_CALLS)
def test_strict_mode_wants_a_key_everywhere(tenant: Tenant, method: str, path: str) -> None:
    assert request(method, path).json()["code"] == "missing_credentials"


@pytest.mark.parametrize(("method", "path"), OPEN_CALLS)
def test_open_mode_lets_the_guides_keyless_calls_through(tenant: Tenant, settings: Any, method: str, path: str) -> None:
    settings.AUTH_MODE = "open"
    assert request(method, path).status_code in {200, 400, 404}


@pytest.mark.parametrize(("method", "path"), KEYED_CALLS)
def test_open_mode_wants_a_key_for_all_others(tenant: Tenant, settings: Any, method: str, path: str) -> None:
    settings.AUTH_MODE = "open"
    assert request(method, path).json()["code"] == "missing_credentials"


@pytest.mark.parametrize("address", ["10.0.0.5", "203.0.113.7", "::ffff:203.0.113.7", "not an address"])
def test_open_mode_is_for_loopback_only(tenant: Tenant, settings: Any, address: str) -> None:
    settings.AUTH_MODE = "open"
    assert request("GET", "/api/teams/team_a", address=address).status_code == 401
    assert request("GET", "/api/teams/team_a", address="::1").status_code == 200


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Basic abc", "sk-abc", "Bearer sk-abc", "Bearer é", "Bearer " + "x" * 300]
)
def test_a_header_that_is_present_is_always_checked(tenant: Tenant, settings: Any, value: str) -> None:
    for settings.AUTH_MODE in ("strict", "open"):
        assert request("GET", "/api/teams/team_a", authorization=value).json()["code"] == "invalid_api_key"


def test_both_headers_must_be_valid_and_the_operator_decides(tenant: Tenant) -> None:
    operator = make_operator()
    key = str(operator.key)
    other = make_tenant("b")

    def get(authorization: str, admin: str) -> int:
        headers = {"authorization": f"Bearer {authorization}", "x-admin-key": admin}
        return int(request("GET", f"/api/teams/{tenant.team_id}", **headers).status_code)

    assert get(other.key, key) == 200
    assert get("sk-unknown", key) == 401
    assert get(tenant.key, "unknown") == 401
    assert get(tenant.key, tenant.key) == 401


def test_an_operators_key_works_as_a_bearer_too(operator: ApiClient, tenant: Tenant) -> None:
    assert ApiClient(operator.key).get(f"/api/teams/{tenant.team_id}").status_code == 200


def test_a_revoked_key_and_an_expired_one_are_unknown(tenant: Tenant) -> None:
    key = VirtualKey.objects.get(team_id=tenant.team_pk)
    for field in ("revoked_at", "expires_at"):
        VirtualKey.objects.filter(pk=key.pk).update(**{field: timezone.now() - timedelta(seconds=1)})
        assert tenant.api.get(f"/api/teams/{tenant.team_id}").json()["code"] == "invalid_api_key"
        VirtualKey.objects.filter(pk=key.pk).update(**{field: None})
    assert tenant.api.get(f"/api/teams/{tenant.team_id}").status_code == 200


def suspend_team(tenant: Tenant) -> None:
    Team.objects.filter(pk=tenant.team_pk).update(status="suspended")


def suspend_organization(tenant: Tenant) -> None:
    Organization.objects.filter(organization_id=tenant.organization_id).update(status="suspended")


@pytest.mark.parametrize("suspend", [suspend_team, suspend_organization])
def test_a_suspended_team_may_nothing(tenant: Tenant, suspend: Callable[[Tenant], None]) -> None:
    operator = make_operator()
    suspend(tenant)
    job = {"team_id": tenant.team_id, "job_type": "x"}
    for answer in (
        tenant.api.get(f"/api/credits/teams/{tenant.team_id}/balance"),
        tenant.api.post("/api/jobs/create", job),
        operator.post("/api/jobs/create", job),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (403, "Team 'team_a' is suspended")
    assert CreditAccount.objects.get(pk=tenant.team_pk).held == 0
    assert operator.get(f"/api/teams/{tenant.team_id}").json()["credits"]["credits_remaining"] == 10


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("read", {"read"}),
        ("provision", {"provision"}),
        ("credits", {"credits"}),
        ("jobs", {"jobs"}),
        ("all", {"read", "provision", "credits", "jobs"}),
    ],
)
def test_an_operator_key_may_what_its_scopes_say(tenant: Tenant, scope: str, allowed: set[str]) -> None:
    client = make_operator(scope, scopes=[scope])
    answers = {
        "read": client.get(f"/api/teams/{tenant.team_id}"),
        "provision": client.post("/api/organizations/create", {"organization_id": f"org_{scope}", "name": "x"}),
        "credits": client.post(f"/api/credits/teams/{tenant.team_id}/add", {"credits_amount": 1}),
        "jobs": client.post("/api/jobs/create", {"team_id": tenant.team_id, "job_type": "x"}),
    }
    assert {name for name, answer in answers.items() if answer.status_code == 200} == allowed
    denied = [answer.json()["code"] for answer in answers.values() if answer.status_code != 200]
    assert set(denied) <= {"insufficient_scope"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/api/organizations/create", {"organization_id": "org_x", "name": "x"}),
        ("get", "/api/organizations/org_a", None),
        ("get", "/api/organizations/org_a/usage", None),
        ("post", "/api/model-groups/create", {"group_name": "X", "models": [{"model_name": "gpt-4o"}]}),
        ("get", "/api/model-groups/Group-a/models", None),
        ("post", "/api/teams/create", {"organization_id": "org_a", "team_id": "team_x", "credits_allocated": 5}),
        ("put", "/api/teams/team_a/model-groups", []),
        ("post", "/api/credits/teams/team_a/add", {"credits_amount": 5}),
        ("get", "/api/teams/team_a/keys", None),
        ("post", "/api/teams/team_a/keys", {}),
    ],
)
def test_a_teams_key_does_nothing_of_an_operators(tenant: Tenant, method: str, path: str, body: Any) -> None:
    answer = getattr(tenant.api, method)(path, *([] if body is None else [body]))

    assert (answer.status_code, answer.json()["code"]) == (403, "operator_required")
    assert CreditAccount.objects.get(pk=tenant.team_pk).allocated == 10
    assert tenant.api.get("/api/teams/team_a").json()["model_groups"] == ["Group-a"]
    assert VirtualKey.objects.count() == 1


def test_a_key_is_looked_up_in_one_query(tenant: Tenant, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        principal = authenticate(Credentials(bearer=tenant.key, admin=None))
    assert principal.team is not None
    assert principal.team.team_id == tenant.team_id
