"""What the console says of models, and what then reaches the provider: credentials, tests, who rests."""

import uuid
from typing import Any

import pytest

from tests.support.console import LiveConsole
from tests.support.fake_provider import ANSWER, COMPLETION_TOKENS, LEAKED_KEY, PROMPT_TOKENS, fingerprint
from tests.support.live import ANSWER_COST_USD, LiveTeam, Tenants
from tests.support.stack import FakeProvider, Stack, eventually

CREDENTIALS = "/admin/modelgroups/providercredential"


@pytest.fixture(scope="module")
def console(stack: Stack) -> LiveConsole:
    return LiveConsole(stack)


def model_of(stack: Stack, group: str) -> int:
    sql = "SELECT m.id FROM modelgroups_groupmodel m JOIN modelgroups_modelgroup g ON g.id = m.group_id"
    return int(stack.query(f"{sql} WHERE g.group_name = %s", group)[0]["id"])


def organization_of(stack: Stack, team: LiveTeam) -> str:
    sql = "SELECT o.organization_id FROM tenancy_team t JOIN tenancy_organization o ON o.id = t.organization_id"
    return str(stack.query(f"{sql} WHERE t.team_id = %s", team.team_id)[0]["organization_id"])


def add_credential(console: LiveConsole, name: str, api_base: str, secret: str, organization_id: str = "") -> None:
    form = {"name": name, "provider": "openai", "api_base": api_base, "secret": secret}
    answer = console.post(f"{CREDENTIALS}/add/", **form, organization_id=organization_id)
    assert "is there. Name it in a model" in answer.text, answer.text
    assert secret not in answer.text


def named(tenants: Tenants, credential: str) -> str:
    """A group whose only model names the credential."""
    prices = {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000002}
    config = {"model": "openai/hidden-model", "credential": credential, **prices}
    group = f"Group-{uuid.uuid4().hex[:8]}"
    body = {"group_name": group, "models": [{"model_name": "secret-model", "config": config}]}
    assert tenants.operator.post("/api/model-groups/create", json=body).status_code == 200
    return group


def test_a_credential_reaches_the_provider_and_an_organizations_own_wins(
    stack: Stack, tenants: Tenants, provider: FakeProvider, console: LiveConsole
) -> None:
    name, everybodys, own = (f"{kind}-{uuid.uuid4().hex[:8]}" for kind in ("main", "sk-everybody", "sk-own"))
    places = {key: f"only-{fingerprint(key)}/{uuid.uuid4().hex}" for key in (everybodys, own)}
    add_credential(console, name, f"{provider.url}/{places[everybodys]}/v1", everybodys)
    group = named(tenants, name)
    some, other = tenants.team([group]), tenants.team([group])
    add_credential(console, name, f"{provider.url}/{places[own]}/v1", own, organization_of(stack, some))

    for team in (some, other):
        assert team.call(team.open_job()).json()["response"]["content"] == ANSWER

    assert provider.requests(places[own]) == 1
    assert provider.requests(places[everybodys]) == 1
    for process in ("web", "worker"):
        log = stack.log(process).read_text()
        assert everybodys not in log
        assert own not in log


def test_who_has_no_such_credential_is_not_served_with_another(
    stack: Stack, tenants: Tenants, provider: FakeProvider, console: LiveConsole
) -> None:
    name, secret = f"main-{uuid.uuid4().hex[:8]}", f"sk-{uuid.uuid4().hex}"
    owner = tenants.team([])
    add_credential(console, name, f"{provider.url}/ok/v1", secret, organization_of(stack, owner))
    team = tenants.team([named(tenants, name)])
    asked = provider.requests("ok")

    answer = team.call(team.open_job())

    assert (answer.status_code, answer.json()["detail"]) == (
        500,
        "LLM call failed: The provider refused our credentials",
    )
    assert provider.requests("ok") == asked


def outcome_of(console: LiveConsole, stack: Stack, model: int) -> tuple[str, dict[str, Any]]:
    """The page of the outcome, which has waited for it, and the row."""
    page = console.post(f"/admin/jobs/modelcheck/new/{model}/", token=uuid.uuid4())
    assert page.status_code == 200
    row = stack.query("SELECT * FROM jobs_modelcheck WHERE model_id = %s ORDER BY created_at DESC LIMIT 1", model)[0]
    return page.text, row


def test_a_model_is_tested_by_a_worker_and_nobody_is_charged(
    stack: Stack, tenants: Tenants, provider: FakeProvider, console: LiveConsole
) -> None:
    place = f"ok/{uuid.uuid4().hex}"
    group = tenants.group(place)
    jobs = stack.query("SELECT count(*) AS jobs FROM jobs_job")

    text, row = outcome_of(console, stack, model_of(stack, group))

    assert (row["state"], row["cause"], row["cost_usd"]) == ("succeeded", "", ANSWER_COST_USD)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (PROMPT_TOKENS, COMPLETION_TOKENS)
    assert "succeeded" in text
    assert str(ANSWER_COST_USD) in text
    assert provider.requests(place) == 1
    assert stack.query("SELECT count(*) AS jobs FROM jobs_job") == jobs
    entry = stack.query("SELECT actor FROM tenancy_auditentry WHERE action = 'model.tested' AND subject = %s", group)
    assert entry[0]["actor"].startswith("console:live-")


def test_a_test_that_fails_says_why_and_leaks_nothing(
    stack: Stack, tenants: Tenants, provider: FakeProvider, console: LiveConsole
) -> None:
    text, row = outcome_of(console, stack, model_of(stack, tenants.group("status-401")))
    assert (row["state"], row["cause"], row["http_status"]) == ("failed", "authentication", 401)
    assert "The provider refused our credentials" in text
    assert LEAKED_KEY not in text


def test_a_test_that_takes_long_is_looked_at_again(
    stack: Stack, tenants: Tenants, provider: FakeProvider, console: LiveConsole
) -> None:
    place = f"held/{uuid.uuid4().hex}"
    text, row = outcome_of(console, stack, model_of(stack, tenants.group(place)))
    assert "still running" in text

    provider.release(place)

    page = f"/admin/jobs/modelcheck/{row['id']}/change/"
    eventually(lambda: "succeeded" in console.get(page).text, "the test has ended", within_s=10)


def test_who_rests_is_seen_on_the_health_page(
    stack: Stack, tenants: Tenants, provider: FakeProvider, console: LiveConsole
) -> None:
    group = tenants.group(f"limited-30s/{uuid.uuid4().hex}", "ok")
    team = tenants.team([group])
    assert team.call(team.open_job()).status_code == 200
    pk = stack.query("SELECT id FROM modelgroups_modelgroup WHERE group_name = %s", group)[0]["id"]

    def is_seen() -> bool:
        return " UTC" in console.get(f"/admin/jobs/attempt/health/?group={pk}").text

    eventually(is_seen, "the model is seen to rest", within_s=10)
