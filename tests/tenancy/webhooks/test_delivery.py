"""Delivery: signed, in order, again and again until it succeeds, and never to an endpoint that is gone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone
from standardwebhooks.webhooks import WebhookVerificationError

from config.foundation import encryption
from tenancy.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tenancy.services.webhooks import endpoints
from tests.support.api import Tenant
from tests.support.receiver import Receiver, running_receiver
from tests.tenancy.webhooks.conftest import MakeEndpoint, emit, numbers, states, work

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def test_the_specifications_library_accepts_what_is_sent(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    new = make_endpoint()
    emit(tenant, n=1, text="naïve ✓")

    assert work() == 1

    (request,) = receiver.requests
    event = WebhookEvent.objects.get()
    assert request.verified(new.secret) == {
        "type": "credits.refilled",
        "timestamp": event.created_at.isoformat(),
        "data": {"team_id": tenant.team_id, "organization_id": tenant.organization_id, "n": 1, "text": "naïve ✓"},
    }
    assert request.message_id == str(event.event_id)
    assert request.headers["content-type"] == "application/json"
    assert states() == ["delivered"]


def test_another_secret_or_another_body_is_refused_by_it(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    new, other = make_endpoint(), make_endpoint("job.completed")
    emit(tenant, n=1)
    work()

    (request,) = receiver.requests
    with pytest.raises(WebhookVerificationError):
        request.verified(other.secret)
    tampered = type(request)(request.headers, request.body.replace(b'"n":1', b'"n":2'))
    with pytest.raises(WebhookVerificationError):
        tampered.verified(new.secret)


def test_while_a_secret_is_rotated_both_are_good_and_then_only_the_new_one(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    old = make_endpoint()
    with time_machine.travel(NOON) as clock:
        new = endpoints.rotate_secret(endpoint_id=old.row.id, team_pk=tenant.team_pk, grace_s=3600)
        emit(tenant, n=1)
        work()
        receiver.requests[0].verified(old.secret)
        receiver.requests[0].verified(new.secret)

        clock.shift(3601)
        emit(tenant, n=2)
        work()
        receiver.requests[1].verified(new.secret)
        with pytest.raises(WebhookVerificationError):
            receiver.requests[1].verified(old.secret)


def test_a_rotation_without_grace_forgets_the_old_secret(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    old = make_endpoint()
    endpoints.rotate_secret(endpoint_id=old.row.id, team_pk=tenant.team_pk, grace_s=0)
    emit(tenant, n=1)
    work()

    with pytest.raises(WebhookVerificationError):
        receiver.requests[0].verified(old.secret)


def test_events_come_in_the_order_in_which_they_happened(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    for n in range(25):
        emit(tenant, n=n)

    assert work() == 25

    assert numbers(receiver) == list(range(25))


def test_a_receiver_that_was_down_for_an_hour_is_sent_everything_once_it_is_back(
    tenant: Tenant, make_endpoint: MakeEndpoint
) -> None:
    """An hour of simulated time, in which an event happens every five minutes and a beat comes every twenty seconds."""
    with running_receiver() as receiver:
        pass
    new = make_endpoint(url=receiver.url)
    with time_machine.travel(NOON, tick=False) as clock:
        attempts = 0
        for second in range(0, 3600, 20):
            if second % 300 == 0:
                emit(tenant, n=second // 300)
            attempts += work()
            clock.shift(20)
        assert set(states()) == {"pending"}
        # It is left in peace, more and more: not one attempt per beat and event.
        assert 12 <= attempts <= 40

        with running_receiver(receiver):
            for _ in range(15):
                work()
                clock.shift(20)

    # The one that found it back comes first, then all others in their order; none is missing, none came twice.
    found_it_back, *others = numbers(receiver)
    assert others == [n for n in range(12) if n != found_it_back]
    assert len(set(receiver.ids)) == 12
    for request in receiver.requests:
        # The library refuses timestamps that are not of now, so they are the attempts', not the events'.
        with time_machine.travel(int(request.headers["webhook-timestamp"])):
            request.verified(new.secret)
    assert set(states()) == {"delivered"}


def test_it_is_tried_by_the_schedule_and_then_given_up(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint, settings: Any
) -> None:
    make_endpoint()
    receiver.status = 500
    emit(tenant, n=1)
    delays_s = settings.WEBHOOK_RETRY_DELAYS_S
    assert len(delays_s) == 9
    assert 3 <= sum(delays_s) / 86400 <= 4

    with time_machine.travel(NOON, tick=False) as clock:
        for attempt in range(1, 11):
            assert work() == 1
            (tried,) = WebhookDelivery.objects.all()
            assert (tried.attempts, tried.last_status) == (attempt, 500)
            if attempt <= 9:
                wait_s = (tried.next_try_at - timezone.now()).total_seconds()  # type: ignore[operator]
                assert 0.8 * delays_s[attempt - 1] <= wait_s <= 1.2 * delays_s[attempt - 1]
                clock.shift(wait_s - 0.001)
                assert work() == 0
                clock.shift(max(0.002, 1.2 * delays_s[0]))
        clock.shift(10 * 86400)
        assert work() == 0

    assert states() == ["failed"]
    assert len(set(receiver.ids)) == 1


def test_retries_are_spread(tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint) -> None:
    receiver.status = 503
    for _ in range(8):
        make_endpoint()
    emit(tenant, n=1)
    with time_machine.travel(NOON, tick=False):
        work()

    waits = {tried.next_try_at for tried in WebhookDelivery.objects.all()}
    assert len(waits) == 8


def test_an_event_that_fails_alone_does_not_hold_up_the_others(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    receiver.statuses = [500]
    for n in range(3):
        emit(tenant, n=n)

    with time_machine.travel(NOON, tick=False) as clock:
        assert work() == 1
        assert work() == 0
        # Only the failing endpoint's first pause is over, not yet the event's own.
        WebhookDelivery.objects.filter(attempts=1).update(next_try_at=NOON + timedelta(minutes=5))
        clock.shift(5)
        assert work() == 2
        clock.shift(300)
        assert work() == 1

    assert numbers(receiver) == [0, 1, 2, 0]


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 429, 500, 503])
def test_only_2xx_is_success_and_a_redirect_is_not_followed(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint, status: int
) -> None:
    make_endpoint()
    receiver.status, receiver.headers = status, {"Location": receiver.url + "/elsewhere"}
    emit(tenant, n=1)

    assert work() == 1

    assert len(receiver.requests) == 1
    assert states() == ["pending"]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_2xx_is(tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint, status: int) -> None:
    make_endpoint()
    receiver.status, receiver.answer = status, b""
    emit(tenant, n=1)
    work()
    assert states() == ["delivered"]


def test_gone_disables_the_endpoint_at_once(tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint) -> None:
    new = make_endpoint()
    receiver.status = 410
    emit(tenant, n=1)
    emit(tenant, n=2)

    assert work() == 1

    endpoint = WebhookEndpoint.objects.get(id=new.row.id)
    assert (endpoint.state, endpoint.disabled_reason) == ("disabled", "gone")
    emit(tenant, n=3)
    with time_machine.travel(timezone.now() + timedelta(days=10)):
        assert work() == 0
    assert WebhookEvent.objects.count() == 2


def test_an_endpoint_that_only_fails_is_disabled_after_five_days(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    new = make_endpoint()
    receiver.status = 500
    with time_machine.travel(NOON, tick=False) as clock:
        for hour in range(5 * 24 + 2):
            emit(tenant, n=hour)
            work()
            state = WebhookEndpoint.objects.get(id=new.row.id).state
            assert state == ("active" if hour < 5 * 24 else "disabled")
            clock.shift(3600)
    assert WebhookEndpoint.objects.get(id=new.row.id).disabled_reason == "failing"


def test_one_success_in_five_days_keeps_it(tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint) -> None:
    new = make_endpoint()
    receiver.status = 500
    with time_machine.travel(NOON, tick=False) as clock:
        for day in range(9):
            receiver.statuses = [200] if day == 4 else []
            emit(tenant, n=day)
            work()
            clock.shift(86400)
    assert WebhookEndpoint.objects.get(id=new.row.id).state == "active"


def test_an_endpoint_that_is_enabled_again_gets_what_was_pending(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    new = make_endpoint()
    receiver.statuses = [410]
    emit(tenant, n=1)
    work()

    endpoints.update_endpoint(endpoint_id=new.row.id, team_pk=tenant.team_pk, is_enabled=True)

    assert work() == 1
    assert numbers(receiver) == [1, 1]
    assert states() == ["delivered"]


def test_a_receiver_that_never_ends_its_answer_costs_no_more_than_the_timeout(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint, settings: Any
) -> None:
    settings.WEBHOOK_TIMEOUT_S = 0.3
    receiver.delay_s = 1
    make_endpoint()
    emit(tenant, n=1)

    work()

    (tried,) = WebhookDelivery.objects.all()
    assert (tried.state, tried.last_problem, tried.last_status) == ("pending", "timeout", None)
    assert 250 <= (tried.last_latency_ms or 0) < 900


def test_a_huge_answer_is_not_read(tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint) -> None:
    receiver.answer = b"x" * 50_000_000
    make_endpoint()
    emit(tenant, n=1)

    assert work() == 1

    assert states() == ["delivered"]


def test_a_secret_that_cannot_be_read_is_a_failure_like_another(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    new = make_endpoint()
    WebhookEndpoint.objects.filter(id=new.row.id).update(secret_encrypted=b"of another key")
    emit(tenant, n=1)

    assert work() == 1

    assert receiver.requests == []
    assert WebhookDelivery.objects.get().last_problem == "secret_unreadable"


def test_secrets_are_encrypted_at_rest(make_endpoint: MakeEndpoint) -> None:
    new = make_endpoint()
    stored = bytes(WebhookEndpoint.objects.get(id=new.row.id).secret_encrypted)
    assert new.secret.removeprefix("whsec_").encode() not in stored
    assert encryption.decrypt(stored).decode() == new.secret
