"""`POST /api/teams/create` end to end: team, key, groups and credits, or nothing of it."""

from typing import Any

import pytest

from billing.models import CreditAccount, LedgerEntry
from modelgroups.models import GroupAssignment
from modelgroups.services.groups import ModelSpec
from tenancy.models import Team, VirtualKey
from tests.support.api import ApiClient, Tenant, make_group

GUIDE = {
    "organization_id": "org_a",
    "team_id": "team_engineering",
    "team_alias": "Engineering Team",
    "model_groups": ["ResumeAgent", "ChatAgent"],
    "credits_allocated": 1000,
    "metadata": {"department": "engineering", "cost_center": "CC-001"},
}
TABLES = (Team, VirtualKey, CreditAccount, LedgerEntry, GroupAssignment)


@pytest.fixture
def groups(tenant: Tenant) -> None:
    make_group("ResumeAgent", [ModelSpec("gpt-3.5-turbo", 0), ModelSpec("gpt-4", 1)])
    make_group("ChatAgent", [ModelSpec("gpt-4", 0), ModelSpec("gpt-4o", 1)])


def create(operator: ApiClient, **fields: Any) -> Any:
    return operator.post("/api/teams/create", {**GUIDE, **fields})


def counts() -> list[int]:
    return [model.objects.count() for model in TABLES]


def test_the_answer_is_the_guides(operator: ApiClient, groups: None) -> None:
    answer = create(operator)

    body = answer.json()
    assert answer.status_code == 200
    assert body.pop("virtual_key").startswith("sk-")
    assert body.pop("created_at").endswith("Z")
    assert body == {
        "team_id": "team_engineering",
        "organization_id": "org_a",
        "team_alias": "Engineering Team",
        "status": "active",
        "model_groups": ["ResumeAgent", "ChatAgent"],
        "allowed_models": ["gpt-3.5-turbo", "gpt-4", "gpt-4o"],
        "credits_allocated": 1000,
        "credits_remaining": 1000,
        "message": "Team created successfully with LiteLLM integration",
    }


def test_the_key_works_at_once_and_is_never_shown_again(operator: ApiClient, groups: None) -> None:
    key = create(operator).json()["virtual_key"]

    body = ApiClient(key).get("/api/teams/team_engineering")
    assert body.status_code == 200
    assert body.json()["credits"] == {
        "credits_allocated": 1000,
        "credits_used": 0,
        "credits_remaining": 1000,
        "credits_held": 0,
        "credits_available": 1000,
    }
    assert body.json()["metadata"] == GUIDE["metadata"]
    for path in ("/api/teams/team_engineering", "/api/teams/team_engineering/keys", "/api/organizations/org_a/teams"):
        assert key.encode() not in operator.get(path).content


def test_the_allocation_is_the_ledgers_first_entry(operator: ApiClient, groups: None) -> None:
    create(operator)
    entry = LedgerEntry.objects.get(account__team__team_id="team_engineering")
    assert (entry.sequence, entry.kind, entry.amount, entry.balance_after) == (1, "allocation", 1000, 1000)
    assert (entry.reason, entry.actor[:9]) == ("Initial allocation", "operator:")


def test_ids_are_all_that_is_needed_and_none_means_none(operator: ApiClient, tenant: Tenant) -> None:
    body = operator.post("/api/teams/create", {"organization_id": "org_a", "team_id": "team_bare"}).json()

    assert (body["credits_allocated"], body["model_groups"], body["allowed_models"]) == (0, [], [])
    assert not LedgerEntry.objects.filter(account__team__team_id="team_bare").exists()
    job = ApiClient(body["virtual_key"]).post("/api/jobs/create", {"team_id": "team_bare", "job_type": "x"})
    assert (job.status_code, job.json()["code"]) == (402, "insufficient_credits")


def test_a_group_named_twice_is_assigned_once(operator: ApiClient, groups: None) -> None:
    body = create(operator, model_groups=["ChatAgent", "ResumeAgent", "ChatAgent"]).json()
    assert body["model_groups"] == ["ChatAgent", "ResumeAgent"]
    assert body["allowed_models"] == ["gpt-4", "gpt-4o", "gpt-3.5-turbo"]


def test_a_taken_id_is_refused_whatever_the_organization(operator: ApiClient, groups: None) -> None:
    key = create(operator).json()["virtual_key"]
    operator.post("/api/organizations/create", {"organization_id": "org_b", "name": "B"})
    before = counts()

    for organization_id in ("org_a", "org_b"):
        answer = create(operator, organization_id=organization_id, credits_allocated=7)
        assert (answer.status_code, answer.json()["code"]) == (400, "team_exists")
        assert answer.json()["detail"] == "Team 'team_engineering' already exists"

    assert counts() == before
    assert ApiClient(key).get("/api/teams/team_engineering").json()["organization_id"] == "org_a"


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"organization_id": "org_none"}, "Organization 'org_none' not found"),
        ({"model_groups": ["ChatAgent", "NoGroup"]}, "Model group 'NoGroup' not found"),
    ],
)
def test_what_it_names_must_exist_or_nothing_is_made(
    operator: ApiClient, groups: None, fields: dict[str, Any], detail: str
) -> None:
    before = counts()
    answer = create(operator, **fields)
    assert (answer.status_code, answer.json()["detail"]) == (404, detail)
    assert counts() == before
    assert create(operator).status_code == 200


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("organization_id", [None, "", 7, "a b", "x" * 129, "é", "a/b"]),
        ("team_id", [None, "", 7, "a b", "x" * 129, "team\n", ["x"]]),
        ("team_alias", [7, "x" * 256, []]),
        ("model_groups", ["ChatAgent", {}, [7], [None], [["ChatAgent"]], [""], ["x"] * 257]),
        ("credits_allocated", [-1, 0.5, "5", True, None, 1_000_000_001]),
        ("metadata", ["x", [], 7, {"a": "x" * 16_384}]),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_made(
    operator: ApiClient, groups: None, field: str, values: list[Any]
) -> None:
    before = counts()
    for value in values:
        answer = create(operator, **{field: value})
        assert answer.status_code == 400, value
        assert answer.json()["errors"][0]["field"].split(".")[0] == field
        assert answer.json()["detail"].startswith(field)
    assert counts() == before


def test_what_a_client_may_not_set_is_ignored(operator: ApiClient, groups: None) -> None:
    body = create(operator, status="suspended", virtual_key="sk-mine", credits_used=-5, id=1, job_ttl_s=1).json()
    team = Team.objects.get(team_id="team_engineering")
    assert (body["status"], body["virtual_key"] == "sk-mine", team.job_ttl_s) == ("active", False, None)
    assert CreditAccount.objects.get(pk=team.pk).used == 0


def test_an_organizations_teams_are_listed_newest_first_in_pages(operator: ApiClient, tenant: Tenant) -> None:
    for number in range(4):
        create(operator, team_id=f"team_{number}", model_groups=[])
    operator.post("/api/organizations/create", {"organization_id": "org_b", "name": "B"})
    create(operator, organization_id="org_b", team_id="team_foreign", model_groups=[])

    pages = [operator.get("/api/organizations/org_a/teams", limit=2, offset=offset).json() for offset in range(0, 6, 2)]

    assert {page["total_teams"] for page in pages} == {5}
    listed = [team["team_id"] for page in pages for team in page["teams"]]
    assert listed == ["team_3", "team_2", "team_1", "team_0", "team_a"]
    assert operator.get("/api/organizations/org_none/teams").status_code == 404


def test_a_list_of_teams_takes_the_same_queries_however_long(
    operator: ApiClient, tenant: Tenant, django_assert_max_num_queries: Any
) -> None:
    for number in range(10):
        create(operator, team_id=f"team_{number}", model_groups=["Group-a"])
    with django_assert_max_num_queries(6):
        assert len(operator.get("/api/organizations/org_a/teams").json()["teams"]) == 11
