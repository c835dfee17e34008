"""Django's registration of the app."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Jobs and calls."""

    name = "jobs"
    verbose_name = "Jobs"
