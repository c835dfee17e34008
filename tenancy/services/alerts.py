"""Opening and closing alerts: once per crossing, whatever overlaps or dies.

Rules are elsewhere (billing.services.alerts, jobs.services.alerts); each finds what is the case now. An alert is opened
and told of, by webhook and mail, in one transaction; the database allows one open alert per crossing, and whoever opens
it tells of it.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from tenancy.models import Alert, AlertMail, Organization, Team, WebhookEvent

#: What a team may know of itself. The others are the operator's business.
FOR_TENANTS = frozenset({Alert.Rule.CREDITS_LOW, Alert.Rule.BUDGET_USED, Alert.Rule.JOBS_FAILING})
#: And what its organization gets mail about.
MAILED_TO_TENANTS = FOR_TENANTS | {Alert.Rule.WEBHOOK_DISABLED}


@dataclass(frozen=True)
class Finding:
    """A subject that has not got over a threshold: `is_met` opens an alert, without it an open one stays open."""

    subject: str
    threshold: str = ""
    is_met: bool = True
    team_pk: int | None = None
    data: dict[str, Any] = field(default_factory=dict)


@transaction.atomic
def settle(*, rule: Alert.Rule, find: Callable[[], Iterable[Finding]]) -> None:
    """Open an alert for each finding that has none yet, and close those of the rule that are found no more.

    Of two at once one waits before it looks, so that neither acts on what the other has changed.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"alerts {rule}"])
    found = {(finding.subject, finding.threshold): finding for finding in find()}
    for finding in found.values():
        if finding.is_met:
            open_alert(rule=rule, finding=finding)
    for alert in Alert.objects.filter(rule=rule, state=Alert.State.OPEN):
        if (alert.subject, alert.threshold) not in found:
            close_alert(rule=rule, subject=alert.subject, threshold=alert.threshold)


@transaction.atomic
def open_alert(*, rule: Alert.Rule, finding: Finding, organization: Organization | None = None) -> bool:
    """Open it and tell of it, unless it is open; returns whether it was opened."""
    team = Team.objects.select_related("organization").get(pk=finding.team_pk) if finding.team_pk else None
    alert, is_new = Alert.objects.get_or_create(
        rule=rule,
        subject=finding.subject,
        threshold=finding.threshold,
        state=Alert.State.OPEN,
        defaults={
            "team": team,
            "organization": team.organization if team else organization,
            "data": finding.data,
            "opened_at": timezone.now(),
        },
    )
    if is_new:
        _tell(alert, WebhookEvent.Type.ALERT_OPENED)
        AlertMail.objects.bulk_create(
            AlertMail(alert=alert, recipient=recipient, next_try_at=alert.opened_at) for recipient in _recipients(alert)
        )
    return is_new


@transaction.atomic
def close_alert(*, rule: Alert.Rule, subject: str, threshold: str = "") -> bool:
    """Close it, if it is open; returns whether it was."""
    open_alerts = Alert.objects.select_for_update().filter(
        rule=rule, subject=subject, threshold=threshold, state=Alert.State.OPEN
    )
    alert = open_alerts.first()
    if alert is None:
        return False
    alert.state, alert.closed_at = Alert.State.CLOSED, timezone.now()
    alert.save(update_fields=["state", "closed_at"])
    _tell(alert, WebhookEvent.Type.ALERT_CLOSED)
    return True


def _tell(alert: Alert, event_type: WebhookEvent.Type) -> None:
    if alert.rule not in FOR_TENANTS or alert.team_id is None:
        return
    if alert.rule == Alert.Rule.CREDITS_LOW and event_type == WebhookEvent.Type.ALERT_OPENED:
        event_type = WebhookEvent.Type.CREDITS_LOW
    about = {"alert_id": str(alert.id), "rule": alert.rule, "threshold": alert.threshold, **alert.data}
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenancy_emit_event(%s, %s, %s)", [alert.team_id, event_type.value, json.dumps(about)])


def _recipients(alert: Alert) -> list[str]:
    theirs = alert.organization.alert_emails or [] if alert.organization and alert.rule in MAILED_TO_TENANTS else []
    return list(dict.fromkeys([*settings.ALERT_EMAILS, *theirs]))
