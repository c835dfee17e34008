"""The admin of the app, and what the admins of the apps above share.

It is for browsing, and for acting by the services that the API calls, too: each action is a form that is sent
(`tenancy.admin.forms`). A few plain fields of organizations, teams and groups can be edited.
"""

from django.contrib import admin

from tenancy.admin.alerts import AlertAdmin
from tenancy.admin.audit import AuditEntryAdmin
from tenancy.admin.browsing import (
    AuditedAdmin,
    BrowseAdmin,
    MetadataField,
    ReadOnlyAdmin,
    ReadOnlyInline,
    actor_of,
    in_a_row,
    link,
)
from tenancy.admin.tenants import VirtualKeyAdmin
from tenancy.admin.webhooks import WebhookEndpointAdmin

admin.site.site_title = admin.site.site_header = "Job credits"
admin.site.index_title = "Browse"

__all__ = [
    "AlertAdmin",
    "AuditEntryAdmin",
    "AuditedAdmin",
    "BrowseAdmin",
    "MetadataField",
    "ReadOnlyAdmin",
    "ReadOnlyInline",
    "VirtualKeyAdmin",
    "WebhookEndpointAdmin",
    "actor_of",
    "in_a_row",
    "link",
]
