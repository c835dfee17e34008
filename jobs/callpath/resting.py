"""Which models rest just now, as the workers have said it: for the console."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import redis
from django.conf import settings
from redis.exceptions import RedisError

from config.foundation.errors import DependencyUnavailable
from jobs.callpath.bulletins import RESTING
from jobs.callpath.cooldown import identity
from jobs.callpath.proxied import by_proxy
from jobs.callpath.targets import target_of
from modelgroups.gateway.parameters import CREDENTIAL
from modelgroups.gateway.types import ProxyRoute, Target
from modelgroups.models import GroupModel, ProviderCredential

TIMEOUT_S = 1.0


def resting_until(models: Iterable[GroupModel], *, now: float | None = None) -> dict[int, float]:
    """Model's key → the Unix time until which it is asked last; without those that do not rest.

    A model with several keys (its organizations' own credentials) rests where one of them does. Raises
    DependencyUnavailable where Redis cannot be asked.
    """
    said, now = _said(), time.time() if now is None else now
    if not said:
        return {}
    models = list(models)
    credentials = _credentials({str(model.config.get(CREDENTIAL)) for model in models})
    found = {}
    for model in models:
        until = max((said.get(identity(target), 0.0) for target in _targets(model, credentials)), default=0.0)
        if until > now:
            found[model.pk] = until
    return found


def _said() -> dict[str, float]:
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        ) as client:
            raw: Any = client.hgetall(RESTING)
    except (RedisError, OSError) as error:
        raise DependencyUnavailable("broker") from error
    return {model.decode(): _seconds(until) for model, until in raw.items()}


def _seconds(raw: bytes) -> float:
    try:
        return float(raw)
    except ValueError:
        return 0.0


def _credentials(names: set[str]) -> dict[str, list[ProviderCredential]]:
    found: dict[str, list[ProviderCredential]] = {}
    for credential in ProviderCredential.objects.filter(name__in=names):
        found.setdefault(credential.name, []).append(credential)
    return found


def _targets(model: GroupModel, credentials: Mapping[str, list[ProviderCredential]]) -> Iterable[Target]:
    """As the workers ask it, once per key."""
    row = {
        "model_name": model.model_name,
        "priority": model.priority,
        "config": model.config,
        "api_key_encrypted": model.api_key_encrypted,
    }
    url = settings.LITELLM_PROXY_URL
    route = ProxyRoute(url=url, key="", is_in_step=True) if url else None
    for credential in credentials.get(str(model.config.get(CREDENTIAL)), [None]):
        target = target_of(
            {
                **row,
                "credential_provider": credential.provider if credential else None,
                "credential_api_base": credential.api_base if credential else None,
                "credential_secret": credential.secret_encrypted if credential else None,
            }
        )
        yield by_proxy(target, route)
