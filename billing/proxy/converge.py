"""Bringing LiteLLM Proxy to where it should be: only requests, no database, so that threads may do it side by side."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from billing.proxy.desired import DesiredKey, DesiredTeam
from billing.proxy.plan import Action, Change, Difference, Kind, plan
from config.foundation import encryption
from config.foundation.failpoints import failpoint
from modelgroups.gateway.proxy_admin import ProxyAdmin, ProxyTeamState
from modelgroups.gateway.proxy_errors import ProxyError, ProxyRefused

logger = logging.getLogger(__name__)


@dataclass
class Convergence:
    """What became of it. An `error` leaves the rest undone; what was done stands, and is found done next time."""

    done: list[Difference] = field(default_factory=list)
    reported: list[Difference] = field(default_factory=list)
    error: Exception | None = None


def converge(admin: ProxyAdmin, desired: DesiredTeam, *, may_go_on: Callable[[], bool]) -> Convergence:
    """Compare, and do what is missing, one idempotent request after the other, for as long as it `may_go_on`.

    That may raise ProxyUnavailable, if somebody has found out.
    """
    result = Convergence()
    try:
        _check(may_go_on)
        actual = admin.team(desired.team_id)
        for change in plan(desired, actual):
            if change.action is Action.REPORT:
                result.reported += change.differences
                continue
            _check(may_go_on)
            try:
                _carry_out(admin, desired, actual, change)
            except encryption.CannotDecrypt:
                result.reported.append(Difference(Kind.KEY_UNKNOWN_TEXT, change.key_hash))
                continue
            failpoint(f"proxy.{change.action}")
            result.done += change.differences
    except (ProxyError, TimeoutError) as error:
        result.error = error
    except Exception as error:
        # One team's bug must not keep the others of its batch from their turn.
        logger.exception("team %s stumbled over a bug", desired.team_id)
        result.error = error
    return result


def _check(may_go_on: Callable[[], bool]) -> None:
    if not may_go_on():
        raise TimeoutError("the lease is over")


def _carry_out(admin: ProxyAdmin, desired: DesiredTeam, actual: ProxyTeamState | None, change: Change) -> None:
    match change.action:
        case Action.CREATE_TEAM:
            admin.create_team(team_id=desired.team_id, alias=desired.alias, **change.fields)
        case Action.UPDATE_TEAM if actual is not None:
            admin.update_team(actual, **change.fields)
        case Action.CREATE_KEY if change.key is not None:
            _create_key(admin, desired, change.key, change)
        case Action.UPDATE_KEY:
            admin.update_key(change.key_hash, **change.fields)
        case Action.DELETE_KEY:
            admin.delete_key(change.key_hash)


def _create_key(admin: ProxyAdmin, desired: DesiredTeam, key: DesiredKey, change: Change) -> None:
    """A key that somebody moved to another team is brought back: its alias and its hash are taken there."""
    plaintext = encryption.decrypt(key.secret or b"").decode()
    try:
        admin.create_key(
            plaintext=plaintext, team_id=desired.team_id, alias=key.alias, key_id=key.key_id, **change.fields
        )
    except ProxyRefused:
        elsewhere = admin.key(key.key_hash)
        if elsewhere is None:
            raise
        logger.warning("key %s was at the proxy already, in team %r", key.alias, elsewhere.team_id)
        admin.update_key(key.key_hash, team_id=desired.team_id, **change.fields)
