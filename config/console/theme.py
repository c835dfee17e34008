"""The look of the console, as django-unfold reads it (https://unfoldadmin.com/docs/configuration/settings/)."""

from typing import Any

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Job credits",
    "SITE_HEADER": "Job credits",
    "SITE_SYMBOL": "toll",
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {"show_search": True, "show_all_applications": True},
}
