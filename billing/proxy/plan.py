"""How LiteLLM Proxy differs from what it should be, and what to do about it: data in, data out.

The same comparison serves the synchronizer (which does it), the reconciler (which tells of it, too) and
`manage.py sync_proxy --dry-run` (which only shows it).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.utils import timezone

from billing.models import DriftKind
from billing.proxy.desired import DesiredKey, DesiredTeam
from modelgroups.gateway.proxy_admin import ALLOWED_ROUTES, ProxyKeyState, ProxyTeamState

Kind = DriftKind
#: The proxy is told in how many seconds a key expires, so its clock and the request's way make a difference.
EXPIRY_TOLERANCE = timedelta(seconds=5)


class Action(StrEnum):
    """What is done about a change."""

    CREATE_TEAM = "create_team"
    UPDATE_TEAM = "update_team"
    CREATE_KEY = "create_key"
    UPDATE_KEY = "update_key"
    DELETE_KEY = "delete_key"
    #: Nothing: somebody has to know.
    REPORT = "report"


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be; `subject` is a key's hash, or empty for the team."""

    kind: str
    subject: str = ""
    was: str = ""
    wanted: str = ""


@dataclass(frozen=True)
class Change:
    """One request to the proxy, and why. `fields` are the arguments of the client's method."""

    action: Action
    differences: tuple[Difference, ...]
    key_hash: str = ""
    key: DesiredKey | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def plan(desired: DesiredTeam, actual: ProxyTeamState | None) -> list[Change]:
    """What to do, in order: the team before its keys, because a key cannot be made in a team that is not there."""
    return [*_team_change(desired, actual), *_key_changes(desired, actual.keys if actual else ())]


def _team_change(desired: DesiredTeam, actual: ProxyTeamState | None) -> Iterator[Change]:
    fields = {"models": desired.models, "budget_usd": desired.budget_usd, "is_blocked": desired.is_blocked}
    if actual is None:
        yield Change(Action.CREATE_TEAM, (Difference(Kind.TEAM_MISSING, wanted=_text(fields)),), fields=fields)
        return
    was = {"models": actual.models, "budget_usd": actual.budget_usd, "is_blocked": actual.is_blocked}
    kinds = {"models": Kind.TEAM_MODELS, "budget_usd": Kind.TEAM_BUDGET, "is_blocked": Kind.TEAM_BLOCKED}
    differing = _differing(was, fields)
    differences = [Difference(kinds[name], "", _text(was[name]), _text(fields[name])) for name in differing]
    if actual.owner != settings.LITELLM_PROXY_OWNER:
        differences.append(Difference(Kind.TEAM_OWNER, "", actual.owner, settings.LITELLM_PROXY_OWNER))
    if differences:
        yield Change(Action.UPDATE_TEAM, tuple(differences), fields={name: fields[name] for name in differing})


def _key_changes(desired: DesiredTeam, actual: tuple[ProxyKeyState, ...]) -> Iterator[Change]:
    found = {key.key_hash: key for key in actual}
    for key in desired.keys:
        yield from _key_change(desired, key, found.get(key.key_hash))
    wanted = {key.key_hash for key in desired.keys}
    for state in actual:
        if state.key_hash in wanted:
            continue
        if state.key_hash in desired.retired or state.owner == settings.LITELLM_PROXY_OWNER:
            difference = Difference(Kind.KEY_ORPHAN, state.key_hash, was=state.alias)
            yield Change(Action.DELETE_KEY, (difference,), key_hash=state.key_hash)
        else:
            yield Change(Action.REPORT, (Difference(Kind.KEY_FOREIGN, state.key_hash, was=state.alias),))


def _key_change(desired: DesiredTeam, key: DesiredKey, actual: ProxyKeyState | None) -> Iterator[Change]:
    fields: dict[str, Any] = {"models": desired.models, "budget_usd": desired.budget_usd}
    if actual is None:
        if key.secret is None:
            yield Change(Action.REPORT, (Difference(Kind.KEY_UNKNOWN_TEXT, key.key_hash, wanted=key.alias),))
            return
        if key.expires_at is not None:
            fields["expires_in_s"] = _seconds_until(key.expires_at)
        missing = Difference(Kind.KEY_MISSING, key.key_hash, wanted=key.alias)
        yield Change(Action.CREATE_KEY, (missing,), key.key_hash, key, fields)
        return
    fields |= {"is_blocked": False, "team_id": desired.team_id, "allowed_routes": ALLOWED_ROUTES}
    was = {
        "models": actual.models,
        "budget_usd": actual.budget_usd,
        "is_blocked": actual.is_blocked,
        "team_id": actual.team_id,
        "allowed_routes": actual.allowed_routes,
    }
    differing = _differing(was, fields)
    differences = [
        Difference(_KEY_KINDS[name], key.key_hash, _text(was[name]), _text(fields[name])) for name in differing
    ]
    change = {name: fields[name] for name in differing}
    if _expires_otherwise(key.expires_at, actual.expires_at):
        change["expires_in_s"] = None if key.expires_at is None else _seconds_until(key.expires_at)
        differences.append(Difference(Kind.KEY_EXPIRY, key.key_hash, _text(actual.expires_at), _text(key.expires_at)))
    if differences:
        yield Change(Action.UPDATE_KEY, tuple(differences), key.key_hash, key, change)


_KEY_KINDS = {
    "models": Kind.KEY_MODELS,
    "budget_usd": Kind.KEY_BUDGET,
    "is_blocked": Kind.KEY_BLOCKED,
    "team_id": Kind.KEY_TEAM,
    "allowed_routes": Kind.KEY_ROUTES,
}


def _differing(was: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """The order of models means nothing."""
    return [
        name
        for name in wanted
        if (sorted(was[name]) != sorted(wanted[name]) if name == "models" else was[name] != wanted[name])
    ]


def _expires_otherwise(wanted: datetime | None, actual: datetime | None) -> bool:
    if wanted is None or actual is None:
        return wanted is not actual
    return abs(wanted - actual) > EXPIRY_TOLERANCE


def _seconds_until(at: datetime) -> int:
    """Whole seconds, rounded up: the key is deleted on time as well."""
    return max(1, -int((timezone.now() - at).total_seconds() // 1))


def _text(value: Any) -> str:
    """For people: models as a list, everything else as it prints."""
    if isinstance(value, tuple):
        return ", ".join(value)
    return "; ".join(f"{name}: {_text(one)}" for name, one in value.items()) if isinstance(value, dict) else str(value)
