"""Who a key belongs to: one statement, for ordinary views and for coroutine views alike."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from django.db import connection

from config.foundation import async_database
from config.foundation.addresses import lies_in
from config.foundation.batching import Batcher
from tenancy.errors import (
    AddressNotAllowed,
    InsufficientScope,
    InvalidApiKey,
    KeyLacksScope,
    ModelNotAllowed,
    OperatorRequired,
    TeamSuspended,
    WrongTeam,
)


@dataclass(frozen=True)
class TeamRef:
    """A team as authentication knows it, so that no further query is needed to act on it."""

    pk: int
    team_id: str
    organization_id: str
    is_suspended: bool
    job_ttl_s: int | None = None
    max_calls_in_flight: int | None = None
    direct_calls_are_jobs: bool = False
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    #: Of each of its users.
    user_requests_per_minute: int | None = None
    user_tokens_per_minute: int | None = None


@dataclass(frozen=True)
class KeyTerms:
    """What a team's key is restricted to (None: it is not), and its own limits (None: the default's)."""

    scopes: frozenset[str] | None = None
    allowed_models: frozenset[str] | None = None
    allowed_ips: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_calls_in_flight: int | None = None

    def allows_model(self, name: str) -> bool:
        """Whether a model or a model group may be named by it."""
        return self.allowed_models is None or name in self.allowed_models


@dataclass(frozen=True)
class Principal:
    """The caller. `open` is the guide's keyless development mode, which may what an operator may."""

    kind: Literal["team", "operator", "open"]
    key_id: UUID | None = None
    team: TeamRef | None = None
    #: An operator key's.
    scopes: frozenset[str] = frozenset()
    #: A team's key's; of no effect on others.
    key: KeyTerms = field(default=KeyTerms())

    #: DRF asks every `request.user` for it.
    is_authenticated = True

    @property
    def is_operator(self) -> bool:
        """Whether the caller may act on every team."""
        return self.kind != "team"

    @property
    def idempotency_scope(self) -> str:
        """What an Idempotency-Key of this caller is unique in."""
        return "open" if self.kind == "open" else f"{self.kind}:{self.key_id}"

    def require_scope(self, scope: str) -> None:
        """Raises OperatorRequired for a team's key, InsufficientScope for an operator's that is too narrow."""
        if self.kind == "team":
            raise OperatorRequired
        if self.kind == "operator" and not self.scopes & {"all", scope}:
            raise InsufficientScope(scope)

    def require_key_scope(self, *scopes: str) -> None:
        """One of these, of a team's key. Raises KeyLacksScope."""
        if self.kind == "team" and self.key.scopes is not None and self.key.scopes.isdisjoint(scopes):
            raise KeyLacksScope(*scopes)

    def require_model(self, name: str) -> None:
        """A model or a model group that a call names. Raises ModelNotAllowed for a key that is restricted to others."""
        if not self.key.allows_model(name):
            raise ModelNotAllowed(name)

    def require_team(self, team_id: str, *, scope: str) -> None:
        """Raises WrongTeam for another team's key, and as require_scope for an operator's."""
        if self.team is None:
            self.require_scope(scope)
        elif self.team.team_id != team_id:
            raise WrongTeam(team_id)


OPEN = Principal(kind="open")

_FIND = """
    SELECT k.key_hash, 'team' AS kind, k.id AS key_id, NULL::varchar[] AS scopes,
           t.id AS team_pk, t.team_id, o.organization_id, t.job_ttl_s, t.max_calls_in_flight, t.direct_calls_are_jobs,
           t.requests_per_minute, t.tokens_per_minute, t.status = 'suspended' OR o.status = 'suspended' AS is_suspended,
           k.scopes AS key_scopes, k.allowed_models, k.allowed_ips, k.requests_per_minute AS key_requests_per_minute,
           k.tokens_per_minute AS key_tokens_per_minute, k.max_calls_in_flight AS key_calls_in_flight,
           t.user_requests_per_minute, t.user_tokens_per_minute
    FROM tenancy_virtualkey k
    JOIN tenancy_team t ON t.id = k.team_id
    JOIN tenancy_organization o ON o.id = t.organization_id
    WHERE k.key_hash = ANY(%(hashes)s) AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
    UNION ALL
    SELECT key_hash, 'operator', id, scopes, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
           NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM tenancy_operatorkey
    WHERE key_hash = ANY(%(hashes)s) AND revoked_at IS NULL
"""


def hash_key(key: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(key.encode()).digest()


@dataclass(frozen=True)
class Credentials:
    """The keys that came with a request; at least one of them is set. `address` is where it came from, if known."""

    bearer: str | None
    admin: str | None
    address: str | None = None

    @property
    def hashes(self) -> list[bytes]:
        """What to look up."""
        return [hash_key(key) for key in (self.bearer, self.admin) if key is not None]


def authenticate(credentials: Credentials) -> Principal:
    """The caller. Raises InvalidApiKey, TeamSuspended, AddressNotAllowed."""
    with connection.cursor() as cursor:
        cursor.execute(_FIND, {"hashes": credentials.hashes})
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return _choose(credentials, rows)


async def authenticate_async(credentials: Credentials) -> Principal:
    """The same for a coroutine view. Raises also DependencyUnavailable."""
    return _choose(credentials, await _find(credentials.hashes))


async def _find_all(asked: list[list[bytes]]) -> list[list[Mapping[str, Any]]]:
    """For each caller the rows of the keys that it sent."""
    hashes = list({key_hash for hashes in asked for key_hash in hashes})
    found = {bytes(row["key_hash"]): row for row in await async_database.fetch_all(_FIND, {"hashes": hashes})}
    return [[found[key_hash] for key_hash in hashes if key_hash in found] for hashes in asked]


_find = Batcher(_find_all)


def _choose(credentials: Credentials, rows: Iterable[Mapping[str, Any]]) -> Principal:
    """Every key that was sent must be valid; the operator's decides where both are."""
    found = {bytes(row["key_hash"]): _principal(row) for row in rows}
    if any(key_hash not in found for key_hash in credentials.hashes):
        raise InvalidApiKey
    if credentials.admin is not None:
        principal = found[hash_key(credentials.admin)]
        if principal.kind != "operator":
            raise InvalidApiKey
        return principal
    (principal,) = found.values()
    if principal.team is not None and principal.team.is_suspended:
        raise TeamSuspended(principal.team.team_id)
    networks = principal.key.allowed_ips
    if networks is not None and not lies_in(credentials.address, networks):
        raise AddressNotAllowed
    return principal


def _principal(row: Mapping[str, Any]) -> Principal:
    if row["kind"] == "operator":
        return Principal(kind="operator", key_id=row["key_id"], scopes=frozenset(row["scopes"]))
    team = TeamRef(
        pk=row["team_pk"],
        team_id=row["team_id"],
        organization_id=row["organization_id"],
        is_suspended=row["is_suspended"],
        job_ttl_s=row["job_ttl_s"],
        max_calls_in_flight=row["max_calls_in_flight"],
        direct_calls_are_jobs=row["direct_calls_are_jobs"],
        requests_per_minute=row["requests_per_minute"],
        tokens_per_minute=row["tokens_per_minute"],
        user_requests_per_minute=row["user_requests_per_minute"],
        user_tokens_per_minute=row["user_tokens_per_minute"],
    )
    return Principal(kind="team", key_id=row["key_id"], team=team, key=_terms(row))


def _terms(row: Mapping[str, Any]) -> KeyTerms:
    scopes, models, networks = row["key_scopes"], row["allowed_models"], row["allowed_ips"]
    return KeyTerms(
        scopes=None if scopes is None else frozenset(scopes),
        allowed_models=None if models is None else frozenset(models),
        allowed_ips=None if networks is None else tuple(networks),
        requests_per_minute=row["key_requests_per_minute"],
        tokens_per_minute=row["key_tokens_per_minute"],
        max_calls_in_flight=row["key_calls_in_flight"],
    )
