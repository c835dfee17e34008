"""Alerts about jobs, models and margins, over a window of time."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from jobs.models import Attempt, Call, Job
from jobs.services import alerts
from tenancy.models import Alert
from tests.jobs.test_jobs import add_call, complete, open_job
from tests.support.api import Tenant, make_tenant


@pytest.fixture(autouse=True)
def _few_are_enough(settings: Any) -> None:
    settings.ALERT_LEAST_COUNT = 10


def alerted(rule: Alert.Rule) -> list[str]:
    alerts.evaluate_alerts()
    alerts.evaluate_margins()
    return list(Alert.objects.filter(rule=rule, state="open").values_list("subject", flat=True))


def add_jobs(tenant: Tenant, *, completed: int = 0, failed: int = 0) -> None:
    now = timezone.now()
    for status, count in (("completed", completed), ("failed", failed)):
        Job.objects.bulk_create(
            Job(team_id=tenant.team_pk, job_type="x", status=status, ended_at=now, expires_at=now) for _ in range(count)
        )


def add_attempts(call: Call, model_name: str, *, succeeded: int = 0, failed: int = 0) -> None:
    first = call.attempts.count() + 1
    outcomes = ["succeeded"] * succeeded + ["failed"] * failed
    Attempt.objects.bulk_create(
        Attempt(
            call=call, sequence=first + n, model_name=model_name, outcome=outcome, latency_ms=1,
            cause="" if outcome == "succeeded" else "timeout", started_at=timezone.now(),
        )
        for n, outcome in enumerate(outcomes)
    )  # fmt: skip


def test_a_team_whose_jobs_fail_by_half_is_told_of(tenant: Tenant) -> None:
    rule = Alert.Rule.JOBS_FAILING
    add_jobs(tenant, completed=5, failed=4)
    assert alerted(rule) == []  # Nine are too few to say.
    add_jobs(tenant, failed=1)
    assert alerted(rule) == alerted(rule) == [tenant.team_id]
    assert Alert.objects.get(rule=rule).data == {"jobs_failed": 5, "jobs_ended": 10}


def test_a_rate_that_hovers_below_its_threshold_keeps_the_alert_open(tenant: Tenant) -> None:
    rule = Alert.Rule.JOBS_FAILING
    add_jobs(tenant, completed=52, failed=48)
    assert alerted(rule) == []  # 48 %
    add_jobs(tenant, failed=4)
    assert alerted(rule) == [tenant.team_id]  # 50 %
    add_jobs(tenant, completed=8)
    assert alerted(rule) == [tenant.team_id]  # 46 %
    add_jobs(tenant, completed=4)
    assert alerted(rule) == []  # 44.8 %
    assert Alert.objects.filter(rule=rule).count() == 1


def test_an_hour_later_nothing_is_left_to_complain_of(tenant: Tenant) -> None:
    add_jobs(tenant, failed=10)
    assert alerted(Alert.Rule.JOBS_FAILING) == [tenant.team_id]
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        assert alerted(Alert.Rule.JOBS_FAILING) == []


def test_a_failing_model_is_told_of_whoever_asks_it(tenant: Tenant) -> None:
    rule = Alert.Rule.MODEL_FAILING
    calls = [add_call(open_job(team), "succeeded") for team in (tenant, make_tenant("b"))]
    for call in calls:
        add_attempts(call, "gpt-good", succeeded=6)
        add_attempts(call, "gpt-bad", succeeded=1, failed=3)
    assert alerted(rule) == []  # Eight are too few to say.
    add_attempts(calls[0], "gpt-bad", failed=2)
    assert alerted(rule) == ["gpt-bad"]
    assert Alert.objects.get(rule=rule).team is None
    add_attempts(calls[0], "gpt-bad", succeeded=12)
    assert alerted(rule) == []


def test_a_team_that_costs_more_than_it_earns_is_told_of(tenant: Tenant, settings: Any) -> None:
    settings.CREDIT_PRICE_USD = Decimal("0.10")
    rule = Alert.Rule.MARGIN_NEGATIVE
    jobs = [open_job(tenant) for _ in range(3)]
    add_call(jobs[0], "succeeded", cost_usd=Decimal("0.08"))
    complete(tenant, jobs[0])
    assert alerted(rule) == []
    add_call(jobs[1], "failed", cost_usd=Decimal("0.03"))
    assert alerted(rule) == []  # The job has not ended.
    complete(tenant, jobs[1])
    assert alerted(rule) == [tenant.team_id]
    data = Alert.objects.get(rule=rule).data
    assert (Decimal(data["cost_usd"]), Decimal(data["earned_usd"]), data["credits_used"]) == (
        Decimal("0.11"),
        Decimal("0.10"),
        1,
    )
    complete(tenant, jobs[2])
    assert alerted(rule) == []
