"""The commands that open things and correct balances: they do it once, or say no."""

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from billing.models import LedgerEntry
from billing.services.provisioning import plan
from config.foundation.errors import InvalidInput
from modelgroups.models import ModelGroup
from tenancy.models import Organization, Team
from tests.support.api import ApiClient, Tenant, make_group
from tests.support.ledger import balance, hold

FILE = """
organizations:
  - organization_id: acme
    name: Acme
model_groups:
  - group_name: ChatAgent
    models: [gpt-4o-mini, {model_name: gpt-4o, config: {temperature: 0}}]
  - {group_name: Spare, models: [gpt-4o]}
teams:
  - {team_id: red, organization_id: acme, model_groups: [ChatAgent], credits_allocated: 50, metadata: {tier: 1}}
  - {team_id: blue, organization_id: acme}
"""


def refused(*arguments: object) -> str:
    with pytest.raises(CommandError) as caught:
        call_command(*map(str, arguments))
    assert caught.value.returncode == 1
    return str(caught.value)


def test_an_organization_is_opened_once(db: None) -> None:
    call_command("create_organization", "acme", "--name", "Acme")
    assert "acme" in refused("create_organization", "acme", "--name", "Other")
    assert Organization.objects.get().name == "Acme"
    refused("create_organization", "a b")


def test_a_team_is_opened_with_credits_groups_and_a_key_that_works(
    db: None, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("create_organization", "acme")
    capsys.readouterr()
    call_command("create_team", "acme", "red", "--group", make_group(), "--credits", "5")
    key = capsys.readouterr().out.strip()
    answer = ApiClient(key).get("/api/teams/red").json()
    assert (answer["credits"]["credits_remaining"], answer["model_groups"]) == (5, ["ChatAgent"])

    refused("create_team", "acme", "red", "--credits", "5")
    refused("create_team", "nobody", "blue")
    refused("create_team", "acme", "blue", "--group", "none")
    refused("create_team", "acme", "blue", "--credits", "-1")
    assert Team.objects.count() == LedgerEntry.objects.count() == 1


def test_a_correction_is_made_once_per_key(tenant: Tenant, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("adjust_credits", tenant.team_id, "--reason", "Refund", "--key", "T-1", "--", "-3")
    call_command(*arguments)
    call_command(*arguments)
    assert capsys.readouterr().out.splitlines() == ["T-1: -3 credits, 7 remain", "T-1: was done before"]
    assert "different" in refused("adjust_credits", tenant.team_id, "5", "--reason", "Refund", "--key", "T-1")
    call_command("adjust_credits", tenant.team_id, "5", "--reason", "Refund", "--key", "T-2")
    assert balance(tenant.team_pk) == (12, 0, 0)
    entry = LedgerEntry.objects.latest("sequence")
    assert (entry.kind, entry.reason, entry.actor) == ("adjustment", "Refund", "adjust_credits")


@pytest.mark.parametrize(
    "arguments",
    [
        ["team_a", "0", "--reason", "x", "--key", "k"],
        ["team_a", "1000000001", "--reason", "x", "--key", "k"],
        ["team_a", "5", "--reason", "", "--key", "k"],
        ["team_a", "5", "--reason", "x", "--key", "a b"],
        ["team_none", "5", "--reason", "x", "--key", "k"],
        ["team_a", "--reason", "x", "--key", "k", "--", "-10"],
    ],
)
def test_a_correction_that_cannot_be_made_changes_nothing(tenant: Tenant, arguments: list[str]) -> None:
    hold(tenant.team_pk)
    refused("adjust_credits", *arguments)
    assert balance(tenant.team_pk) == (10, 0, 1)


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "tenants.yaml"
    file.write_text(text)
    return file


def test_a_file_is_planned_then_applied_and_then_there_is_nothing_left_to_do(
    db: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, FILE)
    call_command("provision", str(file))
    steps = ["create organization acme", "create model group ChatAgent", "create model group Spare", "create team red"]
    assert capsys.readouterr().out.splitlines() == [f"would: {step}" for step in [*steps, "create team blue"]]
    assert not Organization.objects.exists()

    call_command("provision", str(file), "--apply")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [f"done: {step}" for step in [*steps, "create team blue"]]
    key = lines[5].removeprefix("key of red: ")
    assert ApiClient(key).get("/api/teams/red").json()["credits"]["credits_remaining"] == 50
    assert list(ModelGroup.objects.get(group_name="ChatAgent").models.values_list("model_name", flat=True)) == [
        "gpt-4o-mini",
        "gpt-4o",
    ]

    call_command("provision", str(file), "--apply")
    assert capsys.readouterr().out == "Nothing to do: all of it is there.\n"
    assert LedgerEntry.objects.count() == 1


def test_groups_of_a_team_that_is_there_become_those_of_the_file(db: None, tmp_path: Path) -> None:
    call_command("provision", str(written(tmp_path, FILE)), "--apply")
    file = written(tmp_path, FILE.replace("model_groups: [ChatAgent]", "model_groups: [Spare, ChatAgent]"))
    call_command("provision", str(file), "--apply")
    assignments = Team.objects.get(team_id="red").group_assignments
    assert list(assignments.values_list("group__group_name", flat=True)) == ["Spare", "ChatAgent"]


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ([], "sections"),
        ({"team": []}, "sections"),
        ({"teams": {"team_id": "a"}}, "teams"),
        ({"teams": [5]}, "teams.0"),
        ({"teams": [{"team_id": "a b"}]}, "teams.0.team_id"),
        ({"teams": [{}]}, "teams.0.team_id"),
        ({"teams": [{"team_id": "a", "credit": 5}]}, "teams.0.credit"),
        ({"teams": [{"team_id": "a", "credits_allocated": "5"}]}, "teams.0.credits_allocated"),
        ({"teams": [{"team_id": "a", "credits_allocated": True}]}, "teams.0.credits_allocated"),
        ({"teams": [{"team_id": "a", "credits_allocated": -5}]}, "teams.0.credits_allocated"),
        ({"teams": [{"team_id": "a", "model_groups": [5]}]}, "teams.0.model_groups"),
        ({"teams": [{"team_id": "a"}, {"team_id": "a"}]}, "teams"),
        ({"organizations": [{"organization_id": "a", "name": "x" * 256}]}, "organizations.0.name"),
        ({"organizations": [{"organization_id": "a", "metadata": {"a": {1}}}]}, "organizations.0.metadata"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_its_place(db: None, document: Any, where: str) -> None:
    with pytest.raises(InvalidInput, match=where):
        plan(document)


@pytest.mark.parametrize(
    "text",
    ["teams: [{team_id: a, organization_id: none}]", "teams: [", "\0", "teams: [{team_id: a b}]",
     "organizations: [{organization_id: acme}]\nteams: [{team_id: a, organization_id: acme, model_groups: [none]}]"],
)  # fmt: skip
def test_a_file_that_cannot_be_applied_changes_nothing(db: None, tmp_path: Path, text: str) -> None:
    refused("provision", written(tmp_path, text), "--apply")
    assert not Organization.objects.exists()
    assert not Team.objects.exists()
