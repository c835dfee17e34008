"""The look of the console, as django-unfold reads it (https://unfoldadmin.com/docs/configuration/settings/)."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import reverse, reverse_lazy

#: Group → "app.model" → icon. Models that are not registered are left out; what nobody has put anywhere is found under
#: "All applications".
NAVIGATION: dict[str, dict[str, str]] = {
    "Tenants": {
        "tenancy.organization": "corporate_fare",
        "tenancy.team": "groups",
        "tenancy.virtualkey": "key",
        "tenancy.teamuser": "person_pin",
        "tenancy.userlimit": "speed",
    },
    "Credits": {
        "billing.creditaccount": "account_balance_wallet",
        "billing.ledgerentry": "receipt_long",
        "billing.credithold": "lock_clock",
        "billing.creditgrant": "redeem",
        "billing.teambudget": "savings",
        "billing.refillupload": "upload_file",
        "billing.refill": "add_card",
        "billing.refillpolicy": "autorenew",
        "billing.ledgercheck": "fact_check",
    },
    "Jobs": {
        "jobs.job": "work",
        "jobs.call": "forum",
        "jobs.attempt": "replay",
        "jobs.callprocess": "memory",
    },
    "Models": {
        "modelgroups.modelgroup": "hub",
        "modelgroups.groupmodel": "smart_toy",
        "modelgroups.groupassignment": "assignment_ind",
        "modelgroups.providercredential": "vpn_key",
        "jobs.modelcheck": "labs",
    },
    "Sums by day": {
        "jobs.jobday": "calendar_month",
        "jobs.callday": "calendar_month",
        "jobs.modelday": "calendar_month",
        "jobs.creditday": "calendar_month",
        "jobs.rollupday": "event_repeat",
    },
    "Integrations": {
        "tenancy.alert": "notifications",
        "tenancy.webhookendpoint": "webhook",
        "tenancy.webhookdelivery": "outgoing_mail",
        "billing.proxyteam": "sync",
        "billing.proxydrift": "sync_problem",
        "billing.proxyspend": "payments",
    },
    "Access & audit": {
        "tenancy.auditentry": "history",
        "auth.user": "person",
        "auth.group": "shield_person",
        "mfa.authenticator": "security",
        "tenancy.operatorkey": "admin_panel_settings",
    },
}


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: what the user may see of it, in two clicks."""
    # Not at the top: the settings import this module, before there are apps.
    from django.contrib import admin

    registered = {
        f"{model._meta.app_label}.{model._meta.model_name}": model  # noqa: SLF001 (Django's documented name)
        for model in admin.site._registry  # noqa: SLF001 (as Unfold itself finds them)
    }
    groups: list[dict[str, Any]] = [{"items": [_link("Overview", "dashboard", reverse("admin:index"))]}]
    for title, icons in NAVIGATION.items():
        items = [
            _link(
                str(registered[label]._meta.verbose_name_plural).capitalize(),  # noqa: SLF001
                icon,
                reverse(f"admin:{label.replace('.', '_')}_changelist"),
                _may_see(label),
            )
            for label, icon in icons.items()
            if label in registered
        ]
        groups.append({"title": title, "separator": True, "collapsible": True, "items": items})
    help_links = [_link("API documentation", "api", reverse("docs")), _link("Health", "ecg_heart", reverse("health"))]
    groups.append({"title": "Help", "separator": True, "items": help_links})
    return groups


def _link(title: str, icon: str, url: str, permission: Callable[[HttpRequest], bool] | None = None) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": url, "permission": permission}


def _may_see(label: str) -> Callable[[HttpRequest], bool]:
    app_label, _, model_name = label.partition(".")
    names = [f"{app_label}.{verb}_{model_name}" for verb in ("view", "change")]
    return lambda request: any(request.user.has_perm(name) for name in names)


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Job credits",
    "SITE_HEADER": "Job credits",
    "SITE_SYMBOL": "toll",
    #: The documentation is in the sidebar.
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "config.console.dashboard.dashboard",
    "SIDEBAR": {"show_search": True, "show_all_applications": True, "navigation": navigation},
    "ACCOUNT": {
        "navigation": [
            {"title": "Change password", "link": reverse_lazy("admin:password_change")},
            {"title": "Second factor", "link": reverse_lazy("mfa_index")},
        ]
    },
}
