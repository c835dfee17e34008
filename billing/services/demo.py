"""The demo organization of `make run`: one team, two model groups that answer without a provider's key."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from billing.queries.balances import account_of
from billing.services.credits import add_credits
from billing.services.teams import open_team
from modelgroups.errors import ModelGroupExists
from modelgroups.services.groups import ModelSpec, create_model_group, replace_models
from tenancy.models import OperatorKey, Organization, Team
from tenancy.queries.principals import hash_key
from tenancy.services.keys import create_operator_key, create_virtual_key, ensure_operator_key
from tenancy.services.organizations import create_organization

ORGANIZATION_ID = "org_demo"
TEAM_ID = "team_demo"
CREDITS = 1000
#: Every `make run` uses one credit; below this the team gets as many again.
LOW_CREDITS = 10
OPERATOR_KEY_NAME = "demo"
ACTOR = "seed_demo"
CONSOLE_USER = "operator"

#: Group → its models in order, each with what LiteLLM's mock says for it. The first provider whose key is in
#: the environment answers for real.
GROUPS: Mapping[str, tuple[str, tuple[str, ...], str]] = {
    "ResumeAgent": (
        "Résumé analysis",
        ("gpt-4o", "gpt-4o-mini", "claude-haiku-4-5", "gemini/gemini-2.5-flash"),
        "John Doe is a strong candidate with 5 years of Python experience. (This is LiteLLM's mock answer.)",
    ),
    "ChatAgent": (
        "General chat",
        ("gpt-4o", "gpt-4o-mini", "claude-haiku-4-5", "gemini/gemini-2.5-flash"),
        "Hello! (This is LiteLLM's mock answer.)",
    ),
}
#: Which variable holds the key for a model, by the name's beginning.
PROVIDER_KEYS = {"gpt-": "OPENAI_API_KEY", "claude-": "ANTHROPIC_API_KEY", "gemini/": "GEMINI_API_KEY"}


@dataclass(frozen=True)
class DemoCredentials:
    """What the demo prints."""

    operator_key: str
    team_key: str
    console_user: str
    console_password: str
    organization_id: str = ORGANIZATION_ID
    team_id: str = TEAM_ID
    model_group: str = "ResumeAgent"


@transaction.atomic
def seed_demo(*, known: Mapping[str, Any], operator_key: str | None) -> DemoCredentials:
    """Make what is missing of the demo, and bring its models in line with the providers' keys in the environment.

    Keys are stored as hashes, so those of an earlier run are handed in as `known` and kept if still valid.
    `operator_key`, where given, becomes the valid one.
    """
    for group_name in GROUPS:
        _ensure_group(group_name)
    if not Organization.objects.filter(organization_id=ORGANIZATION_ID).exists():
        create_organization(organization_id=ORGANIZATION_ID, name="Demo organization", metadata={}, actor=ACTOR)
    team = Team.objects.filter(team_id=TEAM_ID).first()
    if team is None:
        opened = open_team(
            organization_id=ORGANIZATION_ID,
            team_id=TEAM_ID,
            team_alias="Demo team",
            model_groups=list(GROUPS),
            credits_allocated=CREDITS,
            metadata={},
            actor=ACTOR,
        )
        team_key = opened.key.plaintext
    else:
        team_key = _kept_team_key(team, known.get("team_key"))
        if account_of(team.pk).available < LOW_CREDITS:
            add_credits(team_pk=team.pk, amount=CREDITS, reason="Demo refill", metadata={}, actor=ACTOR)
    return DemoCredentials(
        operator_key=_operator_key(operator_key, known.get("operator_key")),
        team_key=team_key,
        console_user=CONSOLE_USER,
        console_password=_console_password(known.get("console_password")),
    )


def demo_models(group_name: str, environment: Mapping[str, str]) -> list[ModelSpec]:
    """Real models where a provider's key is set, LiteLLM's mock where none is."""
    _, names, mock_response = GROUPS[group_name]
    real = [name for name in names if environment.get(_provider_key(name))]
    if real:
        return [ModelSpec(name, priority) for priority, name in enumerate(real)]
    return [ModelSpec(name, priority, {"mock_response": mock_response}) for priority, name in enumerate(names[:2])]


def _provider_key(model_name: str) -> str:
    return next(key for beginning, key in PROVIDER_KEYS.items() if model_name.startswith(beginning))


def _ensure_group(group_name: str) -> None:
    models = demo_models(group_name, os.environ)
    try:
        create_model_group(
            group_name=group_name,
            display_name=GROUPS[group_name][0],
            description="Made by seed_demo",
            models=models,
            metadata={},
            actor=ACTOR,
        )
    except ModelGroupExists:
        replace_models(group_name=group_name, models=models, actor=ACTOR)


def _kept_team_key(team: Team, known: str | None) -> str:
    if known and team.virtual_keys.filter(key_hash=hash_key(known), revoked_at=None, expires_at=None).exists():
        return known
    return create_virtual_key(team=team, name="demo", actor=ACTOR).plaintext


def _console_password(known: str | None) -> str:
    """A superuser's: the one that was made before, as long as it still works."""
    user = User.objects.filter(username=CONSOLE_USER).first()
    if user is not None and known and user.check_password(known):
        return known
    password = secrets.token_urlsafe(9)
    if user is None:
        User.objects.create_superuser(CONSOLE_USER, password=password)
    else:
        user.set_password(password)
        user.save(update_fields=["password"])
    return password


def _operator_key(wanted: str | None, known: str | None) -> str:
    if wanted:
        ensure_operator_key(name=OPERATOR_KEY_NAME, plaintext=wanted, actor=ACTOR)
        return wanted
    if known and OperatorKey.objects.filter(key_hash=hash_key(known), revoked_at=None).exists():
        return known
    count = OperatorKey.objects.filter(name__startswith=OPERATOR_KEY_NAME).count()
    name = f"{OPERATOR_KEY_NAME} {count + 1}"
    _, plaintext = create_operator_key(name=name, scopes=[OperatorKey.Scope.ALL], actor=ACTOR)
    return plaintext
