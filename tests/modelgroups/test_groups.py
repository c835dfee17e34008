"""Model groups over the API: order, config, prices, secrets, and who sees what."""

import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from modelgroups.gateway.prices import cost_usd
from modelgroups.models import GroupModel, ModelGroup
from tests.support.api import ApiClient, Tenant, make_group, make_tenant

SECRET = "sk-provider-secret-7788"
PRICE = {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000002}


def group(*models: Any, name: str = "New") -> dict[str, Any]:
    return {"group_name": name, "models": list(models)}


def test_models_are_kept_in_priority_order_ties_by_place(operator: ApiClient, tenant: Tenant) -> None:
    models = [{"model_name": name, "priority": p} for name, p in (("gpt-4", 1), ("gpt-4o", 0), ("gpt-4o-mini", 0))]
    made = operator.post("/api/model-groups/create", {**group(*models), "display_name": "D", "description": "E"})

    body = made.json()
    assert made.status_code == 200
    assert {"model_group_id", "group_name", "display_name", "description", "status", "models", "created_at"} <= set(
        body
    )
    for path in ("/api/model-groups/New", "/api/model-groups/New/models"):
        names = [model["model_name"] for model in operator.get(path).json()["models"]]
        assert names == ["gpt-4o", "gpt-4o-mini", "gpt-4"]


def test_resolution_names_primary_and_fallbacks_to_those_with_access(operator: ApiClient, tenant: Tenant) -> None:
    assert tenant.api.get(f"/api/model-groups/{tenant.group_name}/resolve", team_id=tenant.team_id).json() == {
        "group_name": tenant.group_name,
        "primary_model": "gpt-4o-mini",
        "fallback_models": ["gpt-4o"],
        "team_has_access": True,
    }
    make_group("Foreign")
    denied = tenant.api.get("/api/model-groups/Foreign/resolve", team_id=tenant.team_id).json()
    assert denied == {"group_name": "Foreign", "primary_model": None, "fallback_models": [], "team_has_access": False}
    ModelGroup.objects.update(status="inactive")
    assert tenant.api.get(f"/api/model-groups/{tenant.group_name}/resolve").json()["team_has_access"] is False


def test_a_team_sees_its_own_groups_without_a_models_name(operator: ApiClient, tenant: Tenant) -> None:
    make_group("Foreign")
    for path in ("/api/model-groups", f"/api/model-groups/{tenant.group_name}"):
        text = tenant.api.get(path).content.decode()
        assert tenant.group_name in text
        assert "gpt" not in text
        assert "Foreign" not in text
    assert tenant.api.get("/api/model-groups/Foreign").status_code == 404
    assert operator.get("/api/model-groups").json()["total_model_groups"] == 2


def test_assigning_replaces_and_allows_the_union_of_models(operator: ApiClient, tenant: Tenant) -> None:
    operator.post("/api/model-groups/create", group({"model_name": "gpt-4o"}, {"model_name": "gpt-4"}))

    answer = operator.put(f"/api/teams/{tenant.team_id}/model-groups", ["New", tenant.group_name, "New"]).json()

    assert answer["model_groups"] == ["New", tenant.group_name]
    assert answer["allowed_models"] == ["gpt-4o", "gpt-4", "gpt-4o-mini"]
    assert operator.put(f"/api/teams/{tenant.team_id}/model-groups", ["New", "None"]).status_code == 404
    assert operator.get(f"/api/teams/{tenant.team_id}").json()["model_groups"] == ["New", tenant.group_name]
    assert operator.put(f"/api/teams/{tenant.team_id}/model-groups", []).json()["allowed_models"] == []


def test_a_group_is_deleted_when_no_team_uses_it(operator: ApiClient, tenant: Tenant) -> None:
    assert operator.delete(f"/api/model-groups/{tenant.group_name}").status_code == 409
    operator.put(f"/api/teams/{tenant.team_id}/model-groups", [])
    assert operator.delete(f"/api/model-groups/{tenant.group_name}").json()["deleted"] is True
    assert operator.get(f"/api/model-groups/{tenant.group_name}").status_code == 404


def test_replacing_models_keeps_a_key_that_is_not_given_again(operator: ApiClient, tenant: Tenant) -> None:
    model = {"model_name": "gpt-4o", "config": {"api_key": SECRET}}
    operator.post("/api/model-groups/create", group(model))

    models = [{"model_name": "gpt-4o", "config": {"timeout": 5}}, {"model_name": "gpt-4", "priority": 1}]
    answer = operator.put("/api/model-groups/New/models", {"models": models}).json()

    assert [model["config"] for model in answer["models"]] == [{"timeout": 5, "api_key": "****7788"}, {}]


@pytest.mark.parametrize("elsewhere", [{"api_base": "https://elsewhere.example/v1"}, {"model": "openai/other"}])
def test_a_key_is_not_taken_along_to_another_place(
    operator: ApiClient, tenant: Tenant, elsewhere: dict[str, str]
) -> None:
    price = {"input_cost_per_token": 0, "output_cost_per_token": 0}
    operator.post("/api/model-groups/create", group({"model_name": "m", "config": {"api_key": SECRET, **price}}))

    answer = operator.put(
        "/api/model-groups/New/models", {"models": [{"model_name": "m", "config": {**price, **elsewhere}}]}
    )

    assert answer.status_code == 200, answer.json()
    assert "api_key" not in answer.json()["models"][0]["config"]
    assert GroupModel.objects.get(group__group_name="New").api_key_encrypted is None


def test_a_providers_key_is_written_and_never_read(operator: ApiClient, db: None) -> None:
    made = operator.post("/api/model-groups/create", group({"model_name": "gpt-4o", "config": {"api_key": SECRET}}))

    for text in (
        made.content,
        operator.get("/api/model-groups").content,
        operator.get("/api/model-groups/New").content,
    ):
        assert SECRET.encode() not in text
        assert b"****7788" in text
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(m)::text FROM modelgroups_groupmodel m")
        assert SECRET not in str(cursor.fetchall())
    row = GroupModel.objects.get()
    assert SECRET.encode() not in bytes(row.api_key_encrypted or b"")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("proxy", "x"), ("api_type", "azure"), ("model_info", {}), ("callbacks", []), ("mock_response", ""), ("timeout", 0),
        ("timeout", "5"), ("timeout", 1e9), ("api_base", "ftp://x"), ("api_base", "http://u:p@example.com"), ("api_base", 7),
        ("temperature", 3), ("max_tokens", 0), ("max_tokens", 1.5), ("stop", []), ("stop", ["a"] * 5), ("seed", True),
        ("extra_headers", {"a": 1}), ("extra_headers", {"a": "b\r\nc"}), ("input_cost_per_token", -1), ("api_key", ""), ("api_key", "sk-a\n"),
    ],
)  # fmt: skip
def test_a_parameter_that_is_not_allowed_is_named(operator: ApiClient, parameter: str, value: Any) -> None:
    answer = operator.post("/api/model-groups/create", group({"model_name": "gpt-4o", "config": {parameter: value}}))

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"models.0.config.{parameter}: ")
    assert not ModelGroup.objects.exists()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "192.168.0.1", "169.254.169.254", "0.0.0.0", "[::ffff:10.0.0.1]", "2130706433"],  # noqa: S104
)  # fmt: skip
def test_an_inner_address_is_refused_unless_listed_or_open(operator: ApiClient, settings: Any, host: str) -> None:
    body = group({"model_name": "gpt-4o", "config": {"api_base": f"http://{host}:8000/v1"}})
    refused = operator.post("/api/model-groups/create", body)
    assert (refused.status_code, refused.json()["errors"][0]["message"]) == (
        400,
        "may not name a loopback or private address",
    )

    settings.PRIVATE_API_BASES = [host.strip("[]")]
    assert operator.post("/api/model-groups/create", {**body, "group_name": "Listed"}).status_code == 200
    settings.PRIVATE_API_BASES, settings.AUTH_MODE = [], "open"
    assert operator.post("/api/model-groups/create", {**body, "group_name": "Open"}).status_code == 200


def test_a_network_can_be_listed(operator: ApiClient, settings: Any) -> None:
    settings.PRIVATE_API_BASES = ["10.0.0.0/8"]
    for host, status in (("10.1.2.3", 200), ("192.168.1.1", 400)):
        body = group({"model_name": "gpt-4o", "config": {"api_base": f"http://{host}/v1"}}, name=f"At-{host}")
        assert operator.post("/api/model-groups/create", body).status_code == status


@pytest.mark.parametrize(
    ("config", "status"),
    [({}, 400), ({"mock_response": "Hi"}, 400), (PRICE, 200), ({"input_cost_per_token": 0, "output_cost_per_token": 0}, 200), ({"input_cost_per_token": 0}, 400), ({"model": "gpt-4o"}, 200), ({"model": "openai/gpt-4o"}, 200)],
)  # fmt: skip
def test_a_model_without_a_price_is_refused(operator: ApiClient, config: dict[str, Any], status: int) -> None:
    answer = operator.post("/api/model-groups/create", group({"model_name": "home-grown", "config": config}))
    assert answer.status_code == status, answer.json()


def test_costs_are_exact() -> None:
    assert cost_usd("m", PRICE, prompt_tokens=3, completion_tokens=7) == Decimal("0.000017")
    cached = cost_usd("gpt-4o", {}, prompt_tokens=100, completion_tokens=10, cached_tokens=40)
    assert cached == 60 * Decimal("0.0000025") + 40 * Decimal("0.00000125") + 10 * Decimal("0.00001")
    assert sum(
        (cost_usd("m", PRICE, prompt_tokens=1, completion_tokens=0) or Decimal(0) for _ in range(10)), Decimal(0)
    ) == Decimal("0.00001")
    assert cost_usd("nobody-knows", {}, prompt_tokens=1, completion_tokens=1) is None


def test_a_new_team_may_use_the_union_of_its_groups_models(operator: ApiClient, db: None) -> None:
    tenant = make_tenant("c", groups=[make_group("One"), make_group("Two")])
    body = operator.get(f"/api/teams/{tenant.team_id}").json()
    assert json.dumps(body["allowed_models"]) == '["gpt-4o-mini", "gpt-4o"]'
