"""Django's registration of the app."""

from django.apps import AppConfig


class ModelGroupsConfig(AppConfig):
    """Model groups."""

    name = "modelgroups"
    verbose_name = "Model groups"
