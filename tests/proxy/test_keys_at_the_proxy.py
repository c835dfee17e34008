"""A team's key at the real LiteLLM Proxy does what the team may, a few seconds after that has changed."""

import hashlib
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from tests.support.live import LiveTeam, Tenants
from tests.support.real_proxy import RealProxy
from tests.support.stack import eventually

#: What the project promises.
IN_STEP_WITHIN_S = 5


def group_of(tenants: Tenants, *models: str) -> str:
    """A group of models that the proxy knows by these names."""
    price = {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000002}
    name = f"Group-{hashlib.sha256(repr(models).encode()).hexdigest()[:8]}-{len(models)}"
    body = {"group_name": name, "models": [{"model_name": model, "config": price} for model in models]}
    answer = tenants.operator.post("/api/model-groups/create", json=body)
    assert answer.status_code == 200 or answer.json()["code"] == "model_group_exists", answer.text
    return name


def status(proxy: RealProxy, key: str, model: str = "cheap-model") -> int:
    return proxy.chat(key, model).status_code


def soon(look: Callable[[], Any], what: str) -> None:
    eventually(look, what, within_s=IN_STEP_WITHIN_S)


def ok(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_new_teams_key_works_at_once_with_the_openai_sdk(proxy: RealProxy, proxied: Tenants) -> None:
    team = proxied.team([group_of(proxied, "cheap-model")], credits_allocated=10)
    shown = ok(team.api.get(f"/api/teams/{team.team_id}"))
    assert shown["status"] == "active"
    with openai.OpenAI(api_key=team.key, base_url=proxy.url, max_retries=0) as client:
        answer = client.chat.completions.create(model="cheap-model", messages=[{"role": "user", "content": "Hi"}])
        assert answer.choices[0].message.content == "Here is the analysis."
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.chat.completions.create(model="other-model", messages=[{"role": "user", "content": "Hi"}])
    assert "model" in str(refused.value)


def test_the_answer_to_a_new_team_is_the_guides(proxied: Tenants) -> None:
    team = proxied.team([group_of(proxied, "cheap-model")])
    body = {"organization_id": "org_sdk", "name": "x"}
    ok(proxied.operator.post("/api/organizations/create", json=body))
    new = {"organization_id": "org_sdk", "team_id": "team_sdk", "credits_allocated": 1}
    answer = ok(proxied.operator.post("/api/teams/create", json=new, headers={"Idempotency-Key": "one"}))
    assert answer["message"] == "Team created successfully with LiteLLM integration"
    assert answer["status"] == "active"
    again = ok(proxied.operator.post("/api/teams/create", json=new, headers={"Idempotency-Key": "one"}))
    assert {**again, "status": 0} == {**answer, "status": 0}
    assert team.team_id != "team_sdk"


def test_a_spent_budget_is_refused_until_credits_are_added(proxy: RealProxy, proxied: Tenants) -> None:
    """Two credits are 0.20 USD, and the dear model's answer costs 0.25."""
    team = proxied.team([group_of(proxied, "dear-model")], credits_allocated=2)
    assert status(proxy, team.key, "dear-model") == 200
    soon(lambda: status(proxy, team.key, "dear-model") == 422, "the budget is spent")
    refused = proxy.chat(team.key, "dear-model").json()["error"]
    assert refused["type"] == "budget_exceeded"
    assert "budget" in refused["message"].lower()
    proxied.add_credits(team, 100)
    soon(lambda: status(proxy, team.key, "dear-model") == 200, "credits are worth something")
    (key,) = [key for key in proxy.team(team.team_id)["keys"].values() if "platform" not in key["key_alias"]]
    assert (key["max_budget"], proxy.team(team.team_id)["max_budget"]) == (10.2, 10.2)


def test_no_credits_and_no_groups_mean_nothing_and_not_everything(proxy: RealProxy, proxied: Tenants) -> None:
    poor = proxied.team([group_of(proxied, "cheap-model")], credits_allocated=0)
    assert status(proxy, poor.key) == 422
    without = proxied.team([], credits_allocated=10)
    assert {status(proxy, without.key, model) for model in ("cheap-model", "dear-model", "no-default-models")} <= {
        400,
        403,
    }
    listed = httpx.get(
        f"{proxy.url}/v1/models", headers={"Authorization": f"Bearer {without.key}"}, trust_env=False, timeout=10
    )
    assert listed.json()["data"] == []


def test_models_follow_groups(proxy: RealProxy, proxied: Tenants) -> None:
    cheap, other = group_of(proxied, "cheap-model"), group_of(proxied, "other-model", "cheap-model")
    team = proxied.team([cheap], credits_allocated=10)
    assert status(proxy, team.key, "other-model") == 403
    groups = f"/api/teams/{team.team_id}/model-groups"
    ok(proxied.operator.put(groups, json=[cheap, other]))
    soon(lambda: status(proxy, team.key, "other-model") == 200, "the second group's model works")
    assert sorted(proxy.team(team.team_id)["models"]) == ["cheap-model", "other-model"]
    ok(proxied.operator.put(groups, json=[]))
    soon(lambda: status(proxy, team.key) == 403, "without a group, no model works")


def test_models_of_a_group_follow_for_all_its_teams(proxy: RealProxy, proxied: Tenants) -> None:
    price = {"input_cost_per_token": 0, "output_cost_per_token": 0}
    ok(
        proxied.operator.post(
            "/api/model-groups/create",
            json={"group_name": "Changing", "models": [{"model_name": "cheap-model", "config": price}]},
        )
    )
    teams = [proxied.team(["Changing"]) for _ in range(2)]
    models = [{"model_name": "other-model", "config": price}]
    ok(proxied.operator.put("/api/model-groups/Changing/models", json={"models": models}))
    for team in teams:
        soon(lambda team=team: status(proxy, team.key, "other-model") == 200, "the new model works")  # type: ignore[misc]
        assert status(proxy, team.key, "cheap-model") == 403


def key_ids(proxied: Tenants, team: LiveTeam) -> list[str]:
    keys = ok(proxied.operator.get(f"/api/teams/{team.team_id}/keys"))["keys"]
    return [key["key_id"] for key in keys]


def test_rotation_and_revocation_follow(proxy: RealProxy, proxied: Tenants) -> None:
    team = proxied.team([group_of(proxied, "cheap-model")])
    path = f"/api/teams/{team.team_id}/keys"
    (first,) = key_ids(proxied, team)
    second = ok(proxied.operator.post(f"{path}/{first}/rotate", json={"grace_seconds": 4}))
    soon(lambda: status(proxy, second["virtual_key"]) == 200, "the new key works")
    assert status(proxy, team.key) == 200
    eventually(lambda: status(proxy, team.key) == 401, "the old key's grace ends", within_s=4 + IN_STEP_WITHIN_S)
    third = ok(proxied.operator.post(f"{path}/{second['key_id']}/rotate", json={}))
    soon(lambda: status(proxy, second["virtual_key"]) == 401, "without grace the old key stops")
    soon(lambda: status(proxy, third["virtual_key"]) == 200, "and the new one works")
    ok(proxied.operator.post(f"{path}/{third['key_id']}/revoke"))
    soon(lambda: status(proxy, third["virtual_key"]) == 401, "a revoked key stops")
    keys = proxy.team(team.team_id)["keys"].values()
    assert [key["key_alias"].rpartition(":")[0] for key in keys] == [f"job-credits:platform:{team.team_id}"]
    texts = "SELECT count(*) AS kept FROM tenancy_virtualkey WHERE secret_encrypted IS NOT NULL AND team_id = t.id"
    kept = proxied.stack.query(f"SELECT ({texts}) AS kept FROM tenancy_team t WHERE team_id = %s", team.team_id)  # noqa: S608
    assert kept == [{"kept": 0}]


def test_suspension_follows_and_ends(proxy: RealProxy, proxied: Tenants) -> None:
    team = proxied.team([group_of(proxied, "cheap-model")])
    assert status(proxy, team.key) == 200
    # As the admin does it: there is no call for this.
    suspend = "UPDATE tenancy_team SET status = %s WHERE team_id = %s"
    proxied.stack.query(suspend, "suspended", team.team_id)
    soon(lambda: status(proxy, team.key) == 401, "a suspended team's key stops")
    proxied.stack.query(suspend, "active", team.team_id)
    soon(lambda: status(proxy, team.key) == 200, "and works again")


def test_a_teams_key_may_ask_models_and_nothing_else(proxy: RealProxy, proxied: Tenants) -> None:
    team = proxied.team([group_of(proxied, "cheap-model")])
    headers = {"Authorization": f"Bearer {team.key}"}
    for method, path in (("POST", "/key/generate"), ("POST", "/team/update"), ("GET", "/team/list")):
        answer = httpx.request(method, f"{proxy.url}{path}", json={}, headers=headers, trust_env=False, timeout=10)
        assert answer.status_code in {401, 403}, (path, answer.text)
