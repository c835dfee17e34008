"""The roles viewer, support, billing and admin, as groups. `sync_roles` gives them what later models bring."""

from typing import Any

from django.db import migrations

from config.console.roles import ROLES, sync_roles


def make_roles(apps: Any, schema_editor: Any) -> None:
    """Make them."""
    sync_roles(apps)


def remove_roles(apps: Any, schema_editor: Any) -> None:
    """And who was in them is in none."""
    apps.get_model("auth", "Group").objects.filter(name__in=ROLES).delete()


class Migration(migrations.Migration):
    """Needs the models that the roles speak of."""

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("mfa", "0003_authenticator_type_uniq"),
        ("tenancy", "0010_team_permissions"),
        ("modelgroups", "0001_initial"),
        ("billing", "0011_proxy_marks"),
        ("jobs", "0006_windows"),
    ]

    operations = [migrations.RunPython(make_roles, remove_roles)]
