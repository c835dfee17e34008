"""Alerts: once per crossing, told of by webhook and mail, whatever overlaps or dies."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection
from django.utils import timezone

from tenancy.models import Alert, AlertMail, Organization
from tenancy.services import alert_mails
from tenancy.services.alerts import Finding, close_alert, open_alert, settle
from tests.concurrency.threads import at_once
from tests.support.api import Tenant, make_tenant
from tests.support.events import events, subscribe

RULE = Alert.Rule.BUDGET_USED


@pytest.fixture(autouse=True)
def _operators(settings: Any) -> None:
    settings.ALERT_EMAILS = ["operator@example.com"]


def found(tenant: Tenant, **fields: Any) -> Finding:
    return Finding(**{"subject": tenant.team_id, "threshold": "80", "team_pk": tenant.team_pk, **fields})


def states() -> list[str]:
    return list(Alert.objects.order_by("opened_at").values_list("state", flat=True))


def test_a_crossing_is_told_of_once_while_it_lasts_and_again_when_it_comes_back(tenant: Tenant) -> None:
    subscribe(tenant)
    for findings in ([found(tenant)], [found(tenant)], [], [], [found(tenant)]):
        settle(rule=RULE, find=lambda findings=findings: findings)  # type: ignore[misc]

    assert states() == ["closed", "open"]
    told = [(event["type"], event["rule"], event["threshold"]) for event in events()]
    assert told == [
        ("alert.opened", RULE, "80"), ("alert.closed", RULE, "80"), ("alert.opened", RULE, "80")
    ]  # fmt: skip
    assert AlertMail.objects.count() == 2


def test_a_finding_that_hovers_opens_nothing_and_closes_nothing(tenant: Tenant) -> None:
    hovering = found(tenant, is_met=False)
    settle(rule=RULE, find=lambda: [hovering])
    assert states() == []
    settle(rule=RULE, find=lambda: [found(tenant)])
    settle(rule=RULE, find=lambda: [hovering])
    assert states() == ["open"]


def test_thresholds_and_subjects_and_rules_are_apart(tenant: Tenant) -> None:
    other = make_tenant("b")
    settle(rule=RULE, find=lambda: [found(tenant), found(tenant, threshold="100"), found(other)])
    settle(rule=Alert.Rule.JOBS_FAILING, find=lambda: [found(tenant)])
    assert states() == ["open"] * 4
    settle(rule=RULE, find=lambda: [found(other)])
    assert Alert.objects.filter(state="closed").count() == 2


def test_closing_what_is_closed_tells_of_nothing(tenant: Tenant) -> None:
    subscribe(tenant)
    open_alert(rule=RULE, finding=found(tenant))
    assert close_alert(rule=RULE, subject=tenant.team_id, threshold="80")
    assert not close_alert(rule=RULE, subject=tenant.team_id, threshold="80")
    assert len(events("alert.closed")) == 1


def test_low_credits_have_an_event_of_their_own(tenant: Tenant) -> None:
    subscribe(tenant, "credits.low")
    open_alert(rule=Alert.Rule.CREDITS_LOW, finding=found(tenant, threshold="5", data={"credits_remaining": 4}))
    (event,) = events()
    assert (event["type"], event["threshold"], event["credits_remaining"]) == ("credits.low", "5", 4)


@pytest.mark.parametrize("rule", [Alert.Rule.MODEL_FAILING, Alert.Rule.MARGIN_NEGATIVE])
def test_what_is_the_operators_business_is_told_to_operators_only(tenant: Tenant, rule: Alert.Rule) -> None:
    subscribe(tenant)
    Organization.objects.update(alert_emails=["customer@example.com"])
    open_alert(rule=rule, finding=found(tenant))
    assert events() == []
    assert list(AlertMail.objects.values_list("recipient", flat=True)) == ["operator@example.com"]


def test_an_organizations_recipients_get_mail_once_each(tenant: Tenant) -> None:
    Organization.objects.update(alert_emails=["customer@example.com", "operator@example.com"])
    open_alert(rule=RULE, finding=found(tenant, data={"credits_used": 8}))

    assert alert_mails.send_due_mails() == 2
    assert alert_mails.send_due_mails() == 0

    assert sorted(message.to[0] for message in mail.outbox) == ["customer@example.com", "operator@example.com"]
    assert mail.outbox[0].subject == f"[Job credits] budget.used {tenant.team_id} 80"
    assert "credits_used: 8" in mail.outbox[0].body
    assert set(AlertMail.objects.values_list("state", flat=True)) == {"sent"}


def test_a_mail_server_that_is_away_is_tried_again_and_given_up_in_the_end(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise ConnectionRefusedError

    open_alert(rule=RULE, finding=found(tenant))
    with monkeypatch.context() as away, time_machine.travel(timezone.now(), tick=False) as clock:
        away.setattr(EmailBackend, "send_messages", refuse)
        for attempt in range(1, alert_mails.MAX_ATTEMPTS + 1):
            assert alert_mails.send_due_mails() == 0
            assert AlertMail.objects.get().attempts == attempt
            assert alert_mails.send_due_mails() == 0
            assert AlertMail.objects.get().attempts == attempt
            clock.shift(alert_mails.MAX_PAUSE_S)
        assert AlertMail.objects.get().state == "failed"
    assert mail.outbox == []


def test_a_mail_whose_sender_died_is_sent_again_under_the_same_id(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def die(point: str) -> None:
        if point == "mails.sent":
            raise Died

    open_alert(rule=RULE, finding=found(tenant))
    with monkeypatch.context() as dying:
        dying.setattr(alert_mails, "failpoint", die)
        with pytest.raises(Died):
            alert_mails.send_due_mails()
    assert alert_mails.send_due_mails() == 0
    with time_machine.travel(timezone.now() + timedelta(seconds=alert_mails.SENDING_S + 1)):
        assert alert_mails.send_due_mails() == 1
    assert len({message.extra_headers["Message-ID"] for message in mail.outbox}) == 1
    assert len(mail.outbox) == 2


@pytest.fixture
def committed(transactional_db: None) -> Iterator[Tenant]:
    yield make_tenant()
    connection.close()


def test_of_many_beats_at_once_one_opens_and_one_closes(committed: Tenant) -> None:
    subscribe(committed)
    at_once([lambda: settle(rule=RULE, find=lambda: [found(committed)])] * 8)
    assert states() == ["open"]
    at_once([lambda: settle(rule=RULE, find=list)] * 8)
    assert states() == ["closed"]
    assert [event["type"] for event in events()] == ["alert.opened", "alert.closed"]
    assert AlertMail.objects.count() == 1


def test_of_many_senders_at_once_one_sends(committed: Tenant) -> None:
    open_alert(rule=RULE, finding=found(committed))
    assert sum(at_once([alert_mails.send_due_mails] * 8)) == 1
    assert len(mail.outbox) == 1
