"""Our own calls go through the real LiteLLM Proxy: held to the team's budget, costed by it, retried by us alone."""

from decimal import Decimal

import pytest

from tests.proxy.test_keys_at_the_proxy import group_of, ok
from tests.support.live import ANSWER_COST_USD, LiveTeam, Tenants
from tests.support.real_proxy import DEAR_COST_USD, MASTER_KEY, RealProxy
from tests.support.stack import FakeProvider, eventually


def cost_of(team: LiveTeam, job: str) -> Decimal:
    shown = ok(team.api.get(f"/api/jobs/{job}"))
    return Decimal(str(shown["total_cost_usd"]))


def test_a_call_is_answered_and_costed_by_the_proxy(proxied: Tenants) -> None:
    team = proxied.team([group_of(proxied, "dear-model")], credits_allocated=100)
    job = team.open_job()
    answer = ok(team.call(job))
    assert answer["response"]["content"] == "Here is the analysis."
    # The group's own price would make 0.000025 of it.
    assert cost_of(team, job) == Decimal(str(DEAR_COST_USD))


def test_a_streamed_call_is_costed_by_the_proxy_too(proxied: Tenants) -> None:
    team = proxied.team([group_of(proxied, "dear-model")], credits_allocated=100)
    job = team.open_job()
    events = team.call(job, stream=True)
    assert events.status_code == 200
    assert "event: done" in events.text
    assert cost_of(team, job) == Decimal(str(DEAR_COST_USD))


def test_what_the_proxy_has_no_price_for_costs_our_price(proxied: Tenants) -> None:
    team = proxied.team([group_of(proxied, "unpriced-model")], credits_allocated=100)
    job = team.open_job()
    ok(team.call(job))
    assert cost_of(team, job) == ANSWER_COST_USD


@pytest.mark.parametrize("stream", [False, True])
def test_a_spent_budget_ends_the_call_with_402(proxied: Tenants, stream: bool) -> None:
    team = proxied.team([group_of(proxied, "dear-model", "cheap-model")], credits_allocated=2)
    ok(team.call(team.open_job()))
    refused = None

    def is_refused() -> bool:
        nonlocal refused
        refused = team.call(job := team.open_job(), stream=stream)
        assert team.complete(job).status_code == 200
        return refused.status_code == 402

    proxied.add_credits(team, 1)  # open jobs hold one
    eventually(is_refused, "the budget is spent", within_s=15)
    assert refused is not None
    assert refused.json()["code"] == "budget_exhausted"
    assert "budget" in refused.json()["detail"]
    proxied.add_credits(team, 100)
    assert team.call(team.open_job()).status_code == 200


def test_only_our_fallbacks_and_retries_happen(proxied: Tenants, provider: FakeProvider) -> None:
    team = proxied.team([group_of(proxied, "failing-model", "echo-model")], credits_allocated=100)
    before = {name: provider.requests(name) for name in ("status-500", "ok", "echo")}
    answer = ok(team.call(team.open_job()))
    after = {name: provider.requests(name) for name in before}
    assert {name: after[name] - before[name] for name in before} == {"status-500": 1, "ok": 0, "echo": 1}
    assert "num_retries" not in answer["response"]["content"]
    assert "disable_fallbacks" not in answer["response"]["content"]


@pytest.mark.parametrize(
    ("model", "status", "cause"),
    [
        ("refusing-model", 400, "request_refused"),
        ("unauthorized-model", 500, "authentication"),
        ("limited-model", 500, "rate_limited"),
        ("unknown-to-the-proxy", 500, "model_not_found"),
    ],
)
def test_refusals_become_our_causes(proxied: Tenants, model: str, status: int, cause: str) -> None:
    team = proxied.team([group_of(proxied, model)], credits_allocated=100)
    job = team.open_job()
    assert team.call(job).status_code == status
    found = proxied.stack.query("SELECT cause FROM jobs_call WHERE job_id = %s", job)
    assert found == [{"cause": cause}]


def test_a_model_with_a_place_of_its_own_is_asked_there(proxied: Tenants, provider: FakeProvider) -> None:
    name = proxied.group("ok/asked-directly")
    team = proxied.team([name], credits_allocated=0)
    proxied.add_credits(team, 1)
    ok(team.call(team.open_job()))
    assert provider.requests("ok/asked-directly") == 1


def test_a_platform_key_deleted_by_hand_loses_no_call(proxy: RealProxy, proxied: Tenants) -> None:
    team = proxied.team([group_of(proxied, "cheap-model")], credits_allocated=100)
    ok(team.call(team.open_job()))
    (platform,) = [name for name, key in proxy.team(team.team_id)["keys"].items() if "platform" in key["key_alias"]]
    proxy.admin("POST", "/key/delete", {"keys": [platform]})
    assert ok(team.call(team.open_job()))["response"]["content"] == "Here is the analysis."
    drift = "SELECT kind FROM billing_proxydrift WHERE proxy_team_id = %s AND subject = %s"
    assert proxied.stack.query(drift, team.team_id, platform) == [{"kind": "key_missing"}]


def test_neither_keys_nor_the_master_key_are_in_any_log_or_queue(proxy: RealProxy, proxied: Tenants) -> None:
    team = proxied.team([group_of(proxied, "cheap-model")], credits_allocated=100)
    ok(team.call(team.open_job()))
    assert team.key not in proxy.log.read_text()
    for name in proxied.stack.children:
        log = proxied.stack.log(name).read_text()
        assert MASTER_KEY not in log
        assert team.key not in log
    rows = proxied.stack.query(
        "SELECT k.secret_encrypted, p.platform_key_encrypted FROM tenancy_virtualkey k "
        "JOIN billing_proxyteam p USING (team_id) JOIN tenancy_team t ON t.id = k.team_id WHERE t.team_id = %s",
        team.team_id,
    )
    assert all(value.startswith(b"gAAAA") for row in rows for value in row.values())
