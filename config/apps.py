"""Registers the system checks of `config.checks`."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """The project's own app: no models, only checks."""

    name = "config"
    verbose_name = "Configuration"

    def ready(self) -> None:
        """Register."""
        from config import checks  # noqa: F401 (importing registers them)
