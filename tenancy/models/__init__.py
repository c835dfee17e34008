"""One model per file."""

from tenancy.models.alert import Alert
from tenancy.models.alert_mail import AlertMail
from tenancy.models.audit_entry import AuditEntry
from tenancy.models.idempotency_record import IdempotencyRecord
from tenancy.models.operator_key import OperatorKey
from tenancy.models.organization import Organization
from tenancy.models.team import Team
from tenancy.models.team_user import TeamUser
from tenancy.models.user_limit import UserLimit
from tenancy.models.virtual_key import VirtualKey
from tenancy.models.webhook_delivery import WebhookDelivery
from tenancy.models.webhook_endpoint import WebhookEndpoint
from tenancy.models.webhook_event import WebhookEvent

__all__ = [
    "Alert",
    "AlertMail",
    "AuditEntry",
    "IdempotencyRecord",
    "OperatorKey",
    "Organization",
    "Team",
    "TeamUser",
    "UserLimit",
    "VirtualKey",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
]
