"""The console's roles: groups of permissions (docs/operations.md, "Who may do what")."""

from collections.abc import Iterable
from typing import Any

from django.apps import apps as installed_apps

#: The apps whose every model a viewer sees.
OURS = ("tenancy", "modelgroups", "billing", "jobs")
SUPPORT = (
    "tenancy.change_team",
    "tenancy.suspend_team",
    "tenancy.change_virtualkey",
    "tenancy.change_teamuser",
    "tenancy.change_webhookdelivery",
    "modelgroups.test_modelgroup",
)
BILLING = (
    "billing.top_up_creditaccount",
    "billing.add_refillupload",
    "billing.change_refillupload",
    "billing.approve_refillupload",
    "billing.change_refillpolicy",
    "billing.change_ledgercheck",
)
ADMIN = (
    "tenancy.add_organization",
    "tenancy.change_organization",
    "tenancy.add_team",
    "tenancy.change_operatorkey",
    "tenancy.erase_teamuser",
    "modelgroups.add_modelgroup",
    "modelgroups.change_modelgroup",
    "modelgroups.assign_modelgroup",
    "modelgroups.add_providercredential",
    "modelgroups.change_providercredential",
    "modelgroups.delete_providercredential",
    "auth.view_user",
    "auth.add_user",
    "auth.change_user",
    "auth.view_group",
    "mfa.view_authenticator",
    "mfa.delete_authenticator",
)
#: Role → what it may besides looking at everything.
ROLES: dict[str, tuple[str, ...]] = {
    "viewer": (),
    "support": SUPPORT,
    "billing": BILLING,
    "admin": SUPPORT + BILLING + ADMIN,
}


def sync_roles(apps: Any = installed_apps) -> dict[str, int]:
    """Make each role a group with exactly its permissions, by whatever name it is asked; how many each has.

    Permissions are made here, where their model is known: Django makes them only after all migrations. What belongs to
    a model that is not there is left out. `apps` are a migration's, or the installed ones. Safe to repeat.
    """
    group_model = apps.get_model("auth", "Group")
    looking = [
        f"{model._meta.app_label}.view_{model._meta.model_name}"  # noqa: SLF001 (Django's documented name)
        for model in apps.get_models()
        if model._meta.app_label in OURS  # noqa: SLF001
    ]
    counts = {}
    for role, more in ROLES.items():
        group, _ = group_model.objects.get_or_create(name=role)
        permissions = list(_permissions(apps, [*looking, *more]))
        group.permissions.set(permissions)
        counts[role] = len(permissions)
    return counts


def _permissions(apps: Any, names: Iterable[str]) -> Iterable[Any]:
    """By names such as "tenancy.suspend_team": codenames end with their model's name."""
    content_types = apps.get_model("contenttypes", "ContentType").objects
    permissions = apps.get_model("auth", "Permission").objects
    for name in names:
        app_label, _, codename = name.partition(".")
        verb, _, model_name = codename.rpartition("_")
        try:
            model = apps.get_model(app_label, model_name)
        except LookupError:
            continue
        content_type, _ = content_types.get_or_create(app_label=app_label, model=model_name)
        # As Django names its own, which finds it there and leaves it alone.
        title = f"Can {verb.replace('_', ' ')} {model._meta.verbose_name}"  # noqa: SLF001
        yield permissions.get_or_create(content_type=content_type, codename=codename, defaults={"name": title})[0]
