"""Models that keep failing are left alone for a while, by all workers (docs/adr/0011).

Each worker knows what it has seen itself and what the others have told it over Redis, which may lose that: then a
worker finds out for itself, at the price of a few failed attempts. No call ever waits for it.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings

from modelgroups.gateway.errors import AttemptFailed, Cause
from modelgroups.gateway.parameters import litellm_name
from modelgroups.gateway.types import Target

logger = logging.getLogger(__name__)

#: What tells of a model's state, and not of the request.
TROUBLE = frozenset(
    {
        Cause.RATE_LIMITED,
        Cause.TIMEOUT,
        Cause.UNREACHABLE,
        Cause.PROVIDER_ERROR,
        Cause.AUTHENTICATION,
        Cause.MODEL_NOT_FOUND,
    }
)
#: More models than anybody has; beyond it, what has lapsed is forgotten.
MAX_MODELS = 10_000


@dataclass
class _Health:
    failures: int = 0
    cooling_until: float = 0.0


class CoolDowns:
    """What one worker knows. `announce` tells the others, and must not block."""

    def __init__(self, announce: Callable[[str], None], *, now: Callable[[], float] = time.time) -> None:
        self._announce = announce
        self._now = now
        self._models: dict[str, _Health] = {}

    def is_cooling(self, target: Target) -> bool:
        """Whether another model should be asked, if there is one."""
        health = self._models.get(identity(target)) if self._models else None
        return health is not None and health.cooling_until > self._now()

    def succeeded(self, target: Target) -> None:
        """It answers again."""
        if self._models:
            self._models.pop(identity(target), None)

    def failed(self, target: Target, failure: AttemptFailed) -> None:
        """Count a failure. Rate-limited with a time to wait, it rests at once; else after a few in a row."""
        if failure.cause not in TROUBLE:
            return
        model = identity(target)
        health = self._health(model)
        health.failures += 1
        rest_s = 0.0
        if failure.cause == Cause.RATE_LIMITED and failure.retry_after_s:
            rest_s = min(failure.retry_after_s, settings.MAX_COOL_DOWN_S)
        elif health.failures >= settings.COOL_DOWN_AFTER_FAILURES:
            rest_s = settings.COOL_DOWN_S
        if rest_s:
            health.cooling_until = max(health.cooling_until, self._now() + rest_s)
            logger.info("%s rests for %.1f s: %s", target.model_name, rest_s, failure.cause)
            self._announce(json.dumps({"model": model, "until": health.cooling_until}))

    def hear(self, announced: bytes) -> None:
        """What another worker (or this one) has announced; whatever else it may be is ignored."""
        try:
            said = json.loads(announced)
            model, until = str(said["model"]), float(said["until"])
        except (ValueError, KeyError, TypeError):
            return
        latest = self._now() + settings.MAX_COOL_DOWN_S
        self._health(model).cooling_until = max(self._health(model).cooling_until, min(until, latest))

    def _health(self, model: str) -> _Health:
        if len(self._models) >= MAX_MODELS:
            self._models = {name: one for name, one in self._models.items() if one.cooling_until > self._now()}
        return self._models.setdefault(model, _Health())


def identity(target: Target) -> str:
    """What shares a limit at the provider, whichever group it is in: model, place, key; hashed, because of the key."""
    parts = (
        litellm_name(target.model_name, target.config),
        target.proxy.url if target.proxy else str(target.config.get("api_base", "")),
        target.api_key or "",
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
