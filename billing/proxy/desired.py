"""What LiteLLM Proxy should know of a team: it follows from our own tables, so it is written down nowhere."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from billing.models import CreditAccount, ProxyTeam
from billing.queries.balances import budget_usd
from config.foundation import encryption
from modelgroups.gateway.proxy_admin import NO_MODELS
from modelgroups.queries import allowed_models
from tenancy.models import VirtualKey

#: Names that the proxy reads as "every model"; a group's model of such a name opens nothing there.
_EVERYTHING = frozenset({"all-proxy-models", "all-team-models", NO_MODELS})


@dataclass(frozen=True)
class DesiredKey:
    """A key that has to work. `key_id` is "platform" for the one of our own workers."""

    key_id: str
    key_hash: str
    alias: str
    expires_at: datetime | None = None
    #: The key's text, encrypted; None where nobody has it, so that the key cannot be made.
    secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class DesiredTeam:
    """A team, and all it should have there; `retired` are hashes of keys that must not work (any more)."""

    team_pk: int
    team_id: str
    alias: str
    is_blocked: bool
    models: tuple[str, ...]
    budget_usd: Decimal
    keys: tuple[DesiredKey, ...]
    retired: frozenset[str]
    retired_ids: tuple[UUID, ...] = ()


def desired_team(row: ProxyTeam) -> DesiredTeam:
    """In a few queries. The row comes with its team and organization, and was read before: see ProxyTeam."""
    team, now = row.team, timezone.now()
    works = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))
    keys = [_client_key(key) for key in VirtualKey.objects.filter(works, team=team).order_by("created_at", "id")]
    retired = dict(VirtualKey.objects.filter(~works, team=team).values_list("id", "key_hash"))
    account = CreditAccount.objects.filter(pk=team.pk).first()
    models = [name for name in allowed_models(team.pk) if name not in _EVERYTHING and "*" not in name]
    return DesiredTeam(
        team_pk=team.pk,
        team_id=team.team_id,
        alias=team.team_alias or team.team_id,
        is_blocked="suspended" in (team.status, team.organization.status),
        models=tuple(models) or (NO_MODELS,),
        budget_usd=budget_usd(account) if account else Decimal(0),
        keys=(*keys, *_platform_key(row)),
        retired=frozenset(bytes(key_hash).hex() for key_hash in retired.values()),
        retired_ids=tuple(retired),
    )


def _client_key(key: VirtualKey) -> DesiredKey:
    return DesiredKey(
        key_id=str(key.id),
        key_hash=bytes(key.key_hash).hex(),
        alias=f"{settings.LITELLM_PROXY_OWNER}:{key.id}",
        expires_at=key.expires_at,
        secret=None if key.secret_encrypted is None else bytes(key.secret_encrypted),
    )


def _platform_key(row: ProxyTeam) -> list[DesiredKey]:
    if row.platform_key_encrypted is None:
        return []
    secret = bytes(row.platform_key_encrypted)
    key_hash = platform_key_hash(secret)
    # With a part of the hash, because one that replaces another must not have the same alias.
    alias = f"{settings.LITELLM_PROXY_OWNER}:platform:{row.team.team_id}:{key_hash[:8]}"
    return [DesiredKey(key_id="platform", key_hash=key_hash, alias=alias, secret=secret)]


def platform_key_hash(secret: bytes) -> str:
    """By which the proxy knows a platform key."""
    return hashlib.sha256(encryption.decrypt(secret)).hexdigest()
