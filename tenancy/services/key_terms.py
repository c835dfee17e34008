"""What a team's key may be restricted to, checked: for keys that are made and keys that are changed."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from config.foundation.addresses import network
from config.foundation.errors import InvalidInput
from tenancy.models import VirtualKey
from tenancy.models.virtual_key import MAX_ALLOWED_IPS, MAX_ALLOWED_MODELS, MAX_MODEL_NAME

#: Columns of the key's row. `expires_at` is when it stops; null is no restriction, and of the last three the default.
TERMS = (
    "expires_at",
    "scopes",
    "allowed_models",
    "allowed_ips",
    "requests_per_minute",
    "tokens_per_minute",
    "max_calls_in_flight",
)
#: Beyond it other systems' clocks end.
MOST_YEARS = 100


def checked(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Some of TERMS, as they are kept. Raises InvalidInput."""
    return {name: value if value is None else _CHECKS.get(name, _same)(value) for name, value in terms.items()}


def shown(terms: Mapping[str, Any]) -> dict[str, Any]:
    """The same for the audit log."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in terms.items()}


def _same(value: Any) -> Any:
    return value


def _future(moment: datetime) -> datetime:
    if moment <= timezone.now():
        raise InvalidInput("must be in the future; to stop a key at once, revoke it", field="expires_at")
    if moment > timezone.now() + timedelta(days=MOST_YEARS * 365):
        raise InvalidInput(f"must be within {MOST_YEARS} years; null is for good", field="expires_at")
    return moment


def _scopes(scopes: list[str]) -> list[str]:
    """In one order, whatever the client's."""
    if not scopes or not set(scopes) <= set(VirtualKey.Scope.values):
        raise InvalidInput(f"must be some of {', '.join(VirtualKey.Scope.values)}", field="scopes")
    return [scope for scope in VirtualKey.Scope.values if scope in scopes]


def _models(names: list[str]) -> list[str]:
    """Whether there are such models is not asked: a group may be assigned later."""
    if not 1 <= len(names) <= MAX_ALLOWED_MODELS or not all(1 <= len(name) <= MAX_MODEL_NAME for name in names):
        raise InvalidInput(
            f"must be 1 to {MAX_ALLOWED_MODELS} names of models or model groups, of up to {MAX_MODEL_NAME} characters",
            field="allowed_models",
        )
    return list(dict.fromkeys(names))


def _networks(texts: list[str]) -> list[str]:
    if not 1 <= len(texts) <= MAX_ALLOWED_IPS:
        raise InvalidInput(f"must be 1 to {MAX_ALLOWED_IPS} networks", field="allowed_ips")
    try:
        return list(dict.fromkeys(network(text.strip()) for text in texts))
    except ValueError:
        raise InvalidInput("must be networks such as 10.0.0.0/8 or 2001:db8::/32", field="allowed_ips") from None


_CHECKS: Mapping[str, Any] = {
    "expires_at": _future,
    "scopes": _scopes,
    "allowed_models": _models,
    "allowed_ips": _networks,
}
