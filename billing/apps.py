"""Django's registration of the app."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """The ledger."""

    name = "billing"
    verbose_name = "Billing"
