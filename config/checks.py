"""System checks: configurations that must never reach production."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, Tags, register


@register(Tags.security)
def open_mode_is_for_development(app_configs: Any, **kwargs: Any) -> list[Error]:
    """Open mode lets provisioning calls through without a key (contract, "Who may call what")."""
    if settings.AUTH_MODE == "open" and not settings.DEBUG:
        return [
            Error(
                "AUTH_MODE is 'open' while DEBUG is off.",
                hint="Set AUTH_MODE=strict: open mode is for development on loopback only.",
                id="config.E001",
            )
        ]
    return []
