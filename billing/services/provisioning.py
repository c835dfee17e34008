"""Bringing organizations, model groups and teams in line with a file: first the plan, then exactly what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.db import transaction

from billing.services.teams import open_team
from config.foundation.errors import InvalidInput
from config.foundation.limits import CLIENT_ID, CLIENT_ID_RULE, MAX_CREDITS, is_metadata_too_large
from modelgroups.models import GroupAssignment, ModelGroup
from modelgroups.services.groups import ModelSpec, assign_groups, create_model_group
from tenancy.models import Organization, Team
from tenancy.services.organizations import create_organization

#: Section → field → type. What is not here is refused: a field that is misspelt must not be ignored.
FIELDS: Mapping[str, Mapping[str, type]] = {
    "organizations": {"organization_id": str, "name": str, "metadata": dict},
    "model_groups": {"group_name": str, "display_name": str, "description": str, "models": list, "metadata": dict},
    "teams": {
        "team_id": str, "organization_id": str, "team_alias": str, "model_groups": list, "credits_allocated": int,
        "metadata": dict,
    },
}  # fmt: skip
MAX_TEXT = 255
IDS = {"organizations": "organization_id", "model_groups": "group_name", "teams": "team_id"}


@dataclass(frozen=True)
class Step:
    """One thing to do; `wanted` is its entry of the file."""

    action: Literal["create organization", "create model group", "create team", "assign groups"]
    subject: str
    wanted: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"


@dataclass(frozen=True)
class Provisioned:
    """The steps that were taken, and the first keys of new teams, this once."""

    steps: Sequence[Step]
    keys: Mapping[str, str]


def plan(document: object) -> list[Step]:
    """What is missing of the file. What is there stays, but for a team's groups, which become those of the file.

    Credits and models are given to what is made, not to what is there: refills and the API are for that. Raises
    InvalidInput.
    """
    wanted = _checked(document)
    organizations = set(Organization.objects.values_list("organization_id", flat=True))
    groups = set(ModelGroup.objects.values_list("group_name", flat=True))
    teams = {team.team_id: team for team in Team.objects.filter(team_id__in=[t["team_id"] for t in wanted["teams"]])}
    steps = [
        Step("create organization", row["organization_id"], row)
        for row in wanted["organizations"]
        if row["organization_id"] not in organizations
    ]
    steps += [
        Step("create model group", row["group_name"], row)
        for row in wanted["model_groups"]
        if row["group_name"] not in groups
    ]
    for row in wanted["teams"]:
        team = teams.get(row["team_id"])
        if team is None:
            steps.append(Step("create team", row["team_id"], row))
        elif "model_groups" in row and _groups_of(team) != row["model_groups"]:
            steps.append(Step("assign groups", row["team_id"], row))
    return steps


@transaction.atomic
def provision(document: object, *, actor: str) -> Provisioned:
    """Carry out the plan, all of it or nothing. Idempotent: run again, the plan is empty.

    Raises InvalidInput, OrganizationNotFound, ModelGroupNotFound, ModelPriceUnknown.
    """
    steps, keys = plan(document), {}
    for step in steps:
        row = step.wanted
        match step.action:
            case "create organization":
                create_organization(
                    organization_id=step.subject,
                    name=row.get("name", step.subject),
                    metadata=row.get("metadata", {}),
                    actor=actor,
                )
            case "create model group":
                create_model_group(
                    group_name=step.subject,
                    display_name=row.get("display_name", step.subject),
                    description=row.get("description", ""),
                    models=[_model(model, position) for position, model in enumerate(row.get("models", []))],
                    metadata=row.get("metadata", {}),
                    actor=actor,
                )
            case "create team":
                keys[step.subject] = _open(row, actor)
            case "assign groups":
                team = Team.objects.get(team_id=step.subject)
                assign_groups(team_pk=team.pk, group_names=row["model_groups"], actor=actor)
    return Provisioned(steps, keys)


def _open(row: Mapping[str, Any], actor: str) -> str:
    opened = open_team(
        organization_id=row.get("organization_id", ""),
        team_id=row["team_id"],
        team_alias=row.get("team_alias", ""),
        model_groups=row.get("model_groups", []),
        credits_allocated=row.get("credits_allocated", 0),
        metadata=row.get("metadata", {}),
        actor=actor,
    )
    return opened.key.plaintext


def _groups_of(team: Team) -> list[str]:
    return list(GroupAssignment.objects.filter(team=team).values_list("group__group_name", flat=True))


def _model(model: object, position: int) -> ModelSpec:
    if isinstance(model, str):
        return ModelSpec(model, position)
    if not isinstance(model, dict) or not isinstance(model.get("model_name"), str):
        raise InvalidInput("must be a model's name, or have a model_name", field=f"models.{position}")
    return ModelSpec(model["model_name"], model.get("priority", position), model.get("config", {}))


def _checked(document: object) -> dict[str, list[dict[str, Any]]]:
    if not isinstance(document, dict) or set(document) - set(FIELDS):
        raise InvalidInput(f"the file must have the sections {', '.join(FIELDS)}, and no other")
    result: dict[str, list[dict[str, Any]]] = {}
    for section in FIELDS:
        rows = document.get(section) or []
        if not isinstance(rows, list):
            raise InvalidInput("must be a list", field=section)
        result[section] = [_checked_row(section, position, row) for position, row in enumerate(rows)]
        ids = [row[IDS[section]] for row in result[section]]
        if len(set(ids)) < len(ids):
            raise InvalidInput("names something twice", field=section)
    return result


def _checked_row(section: str, position: int, row: object) -> dict[str, Any]:
    where, fields = f"{section}.{position}", FIELDS[section]
    if not isinstance(row, dict):
        raise InvalidInput("must be a mapping", field=where)
    for name, value in row.items():
        if name not in fields:
            raise InvalidInput("is no field of it", field=f"{where}.{name}")
        if problem := _problem(value, fields[name]):
            raise InvalidInput(problem, field=f"{where}.{name}")
    if not CLIENT_ID.fullmatch(row.get(IDS[section], "")):
        raise InvalidInput(CLIENT_ID_RULE, field=f"{where}.{IDS[section]}")
    if section == "teams" and not all(isinstance(name, str) for name in row.get("model_groups", [])):
        raise InvalidInput("must be names", field=f"{where}.model_groups")
    return row


def _problem(value: object, wanted: type) -> str:
    """What is wrong with a field, or nothing. Texts are names, numbers are credits, mappings are metadata."""
    if not isinstance(value, wanted) or isinstance(value, bool):
        return f"must be of type {wanted.__name__}"
    if isinstance(value, str) and (len(value) > MAX_TEXT or "\0" in value):
        return f"must be at most {MAX_TEXT} characters, without NUL"
    if isinstance(value, int) and not 0 <= value <= MAX_CREDITS:
        return f"must be from 0 to {MAX_CREDITS}"
    if isinstance(value, dict):
        try:
            return "is too large" if is_metadata_too_large(value) else ""
        except (TypeError, ValueError):
            return "must be such as JSON knows: no dates, for instance"
    return ""
