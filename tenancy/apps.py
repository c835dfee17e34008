"""Django's registration of the app."""

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    """Organizations, teams, keys."""

    name = "tenancy"
    verbose_name = "Tenants"
