"""The admin of the app, and what the admins of the apps above share.

It is for browsing. It saves a few plain fields of organizations, teams and groups, revokes keys and replays webhooks by
their services; everything else changes through the API, where the rules are.
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
from tenancy.admin.tenants import VirtualKeyInline
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
    "VirtualKeyInline",
    "WebhookEndpointAdmin",
    "actor_of",
    "in_a_row",
    "link",
]
