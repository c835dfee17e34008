"""Rules about jobs and models (docs/operations.md, "Alerts"), and the beat's round over all rules.

Each looks at a window of time up to now. A rate opens an alert at its threshold, and closes it a tenth of that below,
so that one that hovers there is told of once.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import connection
from django.db.models import Count, Q
from django.utils import timezone

from billing.services import alerts as billing_alerts
from jobs.models import Attempt, Job
from tenancy.models import Alert
from tenancy.services.alerts import Finding, settle

#: The share of a threshold below which an alert is over.
HYSTERESIS = Decimal("0.9")

#: Of the jobs that were opened in the window and have ended: what was earned, and what their calls cost.
_MARGINS = """
    SELECT t.id AS team_pk, t.team_id, sum(spent.cost_usd) AS cost_usd,
        count(*) FILTER (WHERE h.state = 'captured') AS credits
    FROM jobs_job j
    JOIN tenancy_team t ON t.id = j.team_id
    JOIN billing_credithold h ON h.job_id = j.id
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(c.cost_usd), 0) AS cost_usd FROM jobs_call c WHERE c.job_id = j.id
    ) AS spent
    WHERE j.created_at >= %(since)s AND j.status IN ('completed', 'failed')
    GROUP BY t.id, t.team_id
    HAVING sum(spent.cost_usd) > 0
"""


def evaluate_alerts() -> None:
    """All rules that look at a short window. A transaction for each rule."""
    billing_alerts.evaluate()
    settle(rule=Alert.Rule.JOBS_FAILING, find=_failing_jobs)
    settle(rule=Alert.Rule.MODEL_FAILING, find=_failing_models)


def evaluate_margins() -> None:
    """The rule that looks at a day."""
    settle(rule=Alert.Rule.MARGIN_NEGATIVE, find=_negative_margins)


def _window() -> datetime:
    return timezone.now() - timedelta(seconds=settings.ALERT_WINDOW_S)


def _failing_jobs() -> Iterator[Finding]:
    """Teams of whose jobs too many failed."""
    is_failed = Q(status=Job.Status.FAILED)
    ended = Job.objects.filter(created_at__gte=_window(), status__in=[Job.Status.COMPLETED, Job.Status.FAILED])
    rates = ended.order_by().values("team_id", "team__team_id")
    for row in rates.annotate(of=Count("id"), failed=Count("id", filter=is_failed)):
        percent = settings.JOB_FAILURE_ALERT_PERCENT
        if (is_met := _has_reached(row["failed"], row["of"], percent)) is not None:
            data = {"jobs_failed": row["failed"], "jobs_ended": row["of"]}
            yield Finding(row["team__team_id"], str(percent), is_met, row["team_id"], data)


def _failing_models() -> Iterator[Finding]:
    """Models of which too many attempts failed, whoever asked them."""
    is_failed = Q(outcome=Attempt.Outcome.FAILED)
    rates = Attempt.objects.filter(started_at__gte=_window()).order_by().values("model_name")
    for row in rates.annotate(of=Count("id"), failed=Count("id", filter=is_failed)):
        percent = settings.MODEL_FAILURE_ALERT_PERCENT
        if (is_met := _has_reached(row["failed"], row["of"], percent)) is not None:
            data = {"attempts_failed": row["failed"], "attempts": row["of"]}
            yield Finding(row["model_name"], str(percent), is_met, None, data)


def _has_reached(failed: int, of: int, percent: int) -> bool | None:
    """True at the threshold, False in the band just below it, None under that or where there is too little to say."""
    if of < settings.ALERT_LEAST_COUNT or failed * 100 < of * percent * HYSTERESIS:
        return None
    return failed * 100 >= of * percent


def _negative_margins() -> Iterator[Finding]:
    """Teams whose calls cost more than their charged jobs earned."""
    since = timezone.now() - timedelta(seconds=settings.MARGIN_WINDOW_S)
    with connection.cursor() as cursor:
        cursor.execute(_MARGINS, {"since": since})
        rows = cursor.fetchall()
    for team_pk, team_id, cost_usd, credits_used in rows:
        earned_usd = credits_used * settings.CREDIT_PRICE_USD
        if earned_usd * HYSTERESIS < cost_usd:
            data = {"cost_usd": str(cost_usd), "earned_usd": str(earned_usd), "credits_used": credits_used}
            yield Finding(team_id, "", earned_usd < cost_usd, team_pk, data)
