"""The dashboard's list of what needs attention, each with the page where it is solved."""

from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from jobs.queries.attention import MOST, Attention
from jobs.queries.dashboard import Scope
from tenancy.models import Alert

#: The rest of the alerts is a link away.
MOST_ALERTS = 12


@dataclass(frozen=True)
class Item:
    """Something to look at."""

    text: str
    url: str
    icon: str
    is_grave: bool = False


def needs_attention(attention: Attention, scope: Scope) -> list[Item]:
    """The gravest first. Two queries at most."""
    alerts = _open_alerts(scope)
    items = [_of_alert(alert) for alert in alerts[:MOST_ALERTS]]
    if len(alerts) > MOST_ALERTS:
        url = _list("tenancy_alert", state__exact=Alert.State.OPEN)
        items.append(Item("More alerts are open", url, "more_horiz"))
    if scope == Scope():
        items += _of_the_installation(attention)
    return sorted(items, key=lambda item: not item.is_grave)


def _open_alerts(scope: Scope) -> list[Alert]:
    alerts = Alert.objects.filter(state=Alert.State.OPEN).order_by("-opened_at")
    if scope.team_pk is not None:
        alerts = alerts.filter(team_id=scope.team_pk)
    elif scope.organization_pk is not None:
        alerts = alerts.filter(organization_id=scope.organization_pk)
    return list(alerts[: MOST_ALERTS + 1])


def _of_alert(alert: Alert) -> Item:
    """Figures are those of when it was opened."""
    team, data = alert.subject, alert.data
    about_team = _page("tenancy_team", alert.team_id) if alert.team_id else _page("tenancy_alert", alert.pk)
    match alert.rule:
        case Alert.Rule.CREDITS_LOW:
            text = f"{team} has fewer than {alert.threshold} credits left ({data.get('credits_remaining', '?')})"
            return Item(text, about_team, "toll")
        case Alert.Rule.BUDGET_USED:
            return Item(f"{team} has used {alert.threshold} % of its budget", about_team, "toll")
        case Alert.Rule.JOBS_FAILING:
            text = f"{team}: {data.get('jobs_failed', '?')} of {data.get('jobs_ended', '?')} jobs failed"
            return Item(text, _list("jobs_job", team__id__exact=alert.team_id, status__exact="failed"), "work_alert")
        case Alert.Rule.MODEL_FAILING:
            text = f"Model {team}: {data.get('attempts_failed', '?')} of {data.get('attempts', '?')} attempts failed"
            url = _list("jobs_attempt", model_name__exact=alert.subject, outcome__exact="failed")
            return Item(text, url, "smart_toy", is_grave=True)
        case Alert.Rule.WEBHOOK_DISABLED:
            return Item("A webhook endpoint was disabled", _page("tenancy_webhookendpoint", alert.subject), "webhook")
        case Alert.Rule.MARGIN_NEGATIVE:
            text = f"{team} costs more than it earns ({data.get('cost_usd', '?')} of {data.get('earned_usd', '?')} USD)"
            return Item(text, about_team, "trending_down")
        case Alert.Rule.BOOKS_BROKEN:
            return Item(f"The books are broken: {team}", _list("billing_ledgercheck"), "gavel", is_grave=True)
        case _:
            return Item(str(alert), _page("tenancy_alert", alert.pk), "notifications")


def _of_the_installation(attention: Attention) -> list[Item]:
    now = timezone.now().isoformat(timespec="seconds")
    found = [
        Item(
            f"{_counted(attention.stuck_jobs)} jobs are past their time-to-live and still open: is beat running?",
            _list("jobs_job", ended_at__isnull="True", expires_at__lt=now),
            "hourglass_disabled",
            is_grave=True,
        ),
        Item(
            f"{_counted(attention.stuck_calls)} calls are past their deadline and still open: is beat running?",
            _list("jobs_call", ended_at__isnull="True", deadline_at__lt=now),
            "hourglass_disabled",
            is_grave=True,
        ),
        Item(
            f"{_counted(attention.proxy_drifts)} differences at LiteLLM Proxy",
            _list("billing_proxydrift", resolved_at__isnull="True"),
            "sync_problem",
        ),
        Item(
            f"{_counted(attention.dead_webhooks)} webhook endpoints are disabled because they failed",
            _list("tenancy_webhookendpoint", state__exact="disabled"),
            "webhook",
        ),
        Item(
            f"{_counted(attention.waiting_refills)} refills wait for approval",
            _list("billing_refillupload", state__exact="waiting"),
            "approval",
        ),
    ]
    counts = (
        attention.stuck_jobs,
        attention.stuck_calls,
        attention.proxy_drifts,
        attention.dead_webhooks,
        attention.waiting_refills,
    )
    return [item for item, count in zip(found, counts, strict=True) if count]


def _counted(count: int) -> str:
    return f"{count} or more" if count == MOST else str(count)


def _page(name: str, pk: Any) -> str:
    return reverse(f"admin:{name}_change", args=[pk])


def _list(name: str, **query: Any) -> str:
    url = reverse(f"admin:{name}_changelist")
    return f"{url}?{urlencode(query)}" if query else url
