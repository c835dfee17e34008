"""What somebody changes at the real LiteLLM Proxy by hand is found by one pass, repaired, and reported."""

import hashlib
import json
import time
from typing import Any

import pytest

from tests.proxy.test_keys_at_the_proxy import group_of, status
from tests.support.live import LiveTeam, Tenants
from tests.support.real_proxy import RealProxy
from tests.support.stack import StackError


@pytest.fixture
def team(proxied: Tenants) -> LiveTeam:
    return proxied.team([group_of(proxied, "cheap-model")], credits_allocated=10)


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def in_step(proxied: Tenants, *arguments: str) -> str:
    return proxied.stack.manage("sync_proxy", *arguments)


def repair(proxied: Tenants) -> None:
    """One pass. Where something is left that only a person can repair, it says so by its exit code."""
    try:
        in_step(proxied, "--apply")
    except StackError as error:
        if " report " not in str(error):
            raise


def drifts(proxied: Tenants, team_id: str) -> set[tuple[str, str, bool]]:
    rows = proxied.stack.query(
        "SELECT kind, subject, resolved_at IS NOT NULL AS is_resolved FROM billing_proxydrift WHERE proxy_team_id = %s",
        team_id,
    )
    return {(row["kind"], row["subject"], row["is_resolved"]) for row in rows}


def test_drift_made_by_hand_is_repaired_and_reported(proxy: RealProxy, proxied: Tenants, team: LiveTeam) -> None:
    key = hash_of(team.key)
    proxy.admin("POST", "/team/update", {"team_id": team.team_id, "max_budget": 999, "models": [], "blocked": True})
    proxy.admin("POST", "/key/update", {"key": key, "max_budget": 999, "models": [], "duration": "9h", "blocked": True})
    with pytest.raises(StackError, match="team_budget") as shown:
        in_step(proxied, "--dry-run")
    assert "key_models" in str(shown.value)
    assert proxy.team(team.team_id)["max_budget"] == 999
    in_step(proxied, "--apply")
    found = proxy.team(team.team_id)
    assert (found["max_budget"], found["models"], found["blocked"]) == (1.0, ["cheap-model"], False)
    again = found["keys"][key]
    assert (again["max_budget"], again["models"], again["expires"]) == (1.0, ["cheap-model"], None)
    assert status(proxy, team.key) == 200
    kinds = {kind for kind, _, resolved in drifts(proxied, team.team_id) if resolved}
    assert kinds == {"team_budget", "team_models", "team_blocked"} | {
        "key_budget", "key_models", "key_expiry", "key_blocked",
    }  # fmt: skip
    assert in_step(proxied, "--dry-run").endswith("in step")


def test_a_deleted_key_works_again(proxy: RealProxy, proxied: Tenants, team: LiveTeam) -> None:
    proxy.admin("POST", "/key/delete", {"keys": [hash_of(team.key)]})
    assert status(proxy, team.key) == 401
    in_step(proxied, "--apply")
    assert status(proxy, team.key) == 200
    assert ("key_missing", hash_of(team.key), True) in drifts(proxied, team.team_id)


def test_a_deleted_team_is_there_again_with_its_keys(proxy: RealProxy, proxied: Tenants, team: LiveTeam) -> None:
    proxy.admin("POST", "/team/delete", {"team_ids": [team.team_id]})
    in_step(proxied, "--apply")
    assert status(proxy, team.key) == 200
    assert len(proxy.team(team.team_id)["keys"]) == 2


def test_a_revoked_key_that_somebody_made_again_goes(proxy: RealProxy, proxied: Tenants, team: LiveTeam) -> None:
    listed = proxied.operator.get(f"/api/teams/{team.team_id}/keys").json()["keys"]
    proxied.operator.post(f"/api/teams/{team.team_id}/keys/{listed[0]['key_id']}/revoke")
    in_step(proxied, "--apply")
    assert status(proxy, team.key) == 401
    proxy.admin("POST", "/key/generate", {"key": team.key, "team_id": team.team_id})
    assert status(proxy, team.key) == 200
    in_step(proxied, "--apply")
    assert status(proxy, team.key) == 401
    assert ("key_orphan", hash_of(team.key), True) in drifts(proxied, team.team_id)


def test_somebody_elses_key_is_told_of_and_left_alone(proxy: RealProxy, proxied: Tenants, team: LiveTeam) -> None:
    made = proxy.admin("POST", "/key/generate", {"team_id": team.team_id})
    for _ in range(2):
        repair(proxied)
    assert ("key_foreign", hash_of(made["key"]), False) in drifts(proxied, team.team_id)
    assert len([one for one in drifts(proxied, team.team_id) if one[0] == "key_foreign"]) == 1
    assert status(proxy, made["key"]) == 200
    proxy.admin("POST", "/key/delete", {"keys": [hash_of(made["key"])]})
    repair(proxied)
    assert ("key_foreign", hash_of(made["key"]), True) in drifts(proxied, team.team_id)


def test_orphans_of_ours_are_found_and_a_strangers_team_is_not(proxy: RealProxy, proxied: Tenants) -> None:
    name = f"orphan-{time.monotonic_ns()}"
    ours: dict[str, Any] = {"metadata": {"managed_by": "job-credits"}}
    proxy.admin("POST", "/team/new", {"team_id": name, **ours})
    proxy.admin("POST", "/team/new", {"team_id": f"{name}-strange"})
    key = proxy.admin("POST", "/key/generate", {"team_id": name, **ours})["key"]
    strange = proxy.admin("POST", "/key/generate", {"team_id": f"{name}-strange"})["key"]
    repair(proxied)
    assert status(proxy, key) == 401
    assert proxy.team(name)["blocked"] is True
    assert drifts(proxied, name) == {("team_orphan", "", False), ("key_orphan", hash_of(key), True)}
    assert status(proxy, strange) == 200
    proxy.admin("POST", "/team/delete", {"team_ids": [name]})
    repair(proxied)
    assert ("team_orphan", "", True) in drifts(proxied, name)


def test_the_proxys_spend_is_read_back(proxy: RealProxy, proxied: Tenants) -> None:
    """0.25 USD directly, and as much in a job."""
    team = proxied.team([group_of(proxied, "dear-model")], credits_allocated=100)
    assert status(proxy, team.key, "dear-model") == 200
    job = team.open_job()
    assert team.call(job).status_code == 200
    assert team.complete(job).status_code == 200
    ends = time.monotonic() + 40
    while time.monotonic() < ends:
        usage = team.api.get(f"/api/teams/{team.team_id}/usage").json()
        if usage["litellm_proxy"]["direct_spend_usd"] == 0.25 and usage["litellm_proxy"]["platform_spend_usd"] == 0.25:
            break
        time.sleep(0.5)
    assert usage["summary"]["total_cost_usd"] == 0.25
    assert usage["litellm_proxy"] == {
        "direct_spend_usd": 0.25,
        "direct_requests": 1,
        "platform_spend_usd": 0.25,
        "models": {"dear-model": 0.25},
    }, json.dumps(usage)
