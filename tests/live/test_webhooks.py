"""Webhooks of real processes: what happened is told once it is committed, whoever dies on the way."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.live import LiveTeam, MakeStack, Tenants
from tests.support.receiver import Receiver, running_receiver
from tests.support.stack import FakeProvider, Stack, eventually

#: The lease of a worker that died, and a beat.
TAKEN_OVER_WITHIN_S = 60
#: So that a lease does not outlive a test's patience: 30 s and this.
TIMEOUT_S = "2"


@pytest.fixture(scope="module")
def failpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("failpoints")


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Django's file backend puts them."""
    return tmp_path_factory.mktemp("mails")


@pytest.fixture(scope="module")
def hooked(make_stack: MakeStack, failpoints: Path, mails: Path) -> Iterator[Stack]:
    """Retries come soon here; the schedule itself is tested with simulated time (tests/tenancy/webhooks)."""
    hasty = {"WEBHOOK_RETRY_DELAYS_S": ",".join(["0.5"] * 200), "WEBHOOK_TIMEOUT_S": TIMEOUT_S}
    hasty |= {"EMAIL_URL": f"filemail:///{mails}", "ALERT_EMAILS": "operator@example.com"}
    names = ("web", "worker", "maintenance", "webhooks", "beat")
    with make_stack(*names, FAILPOINTS=str(failpoints), **hasty) as running:
        yield running


@pytest.fixture(scope="module")
def hook_tenants(hooked: Stack, provider: FakeProvider) -> Tenants:
    return Tenants.on(hooked, provider)


@pytest.fixture
def team(hook_tenants: Tenants) -> LiveTeam:
    return hook_tenants.team([hook_tenants.group("ok")])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


def subscribe(team: LiveTeam, receiver: Receiver, *event_types: str) -> dict[str, Any]:
    answer = team.api.post("/api/webhooks", json={"url": receiver.url, "event_types": event_types})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def wait_for(stack: Stack, receiver: Receiver, count: int, *, within_s: float = 20) -> None:
    what = f"{count} distinct event(s) at the receiver"
    eventually(lambda: len(set(receiver.ids)) >= count, what, within_s=within_s, log=stack.log("webhooks"))


def wait_for_rest(stack: Stack, endpoint: dict[str, Any]) -> None:
    sql = "SELECT 1 FROM tenancy_webhookdelivery WHERE endpoint_id = %s AND state <> 'delivered'"
    eventually(lambda: not stack.query(sql, endpoint["endpoint_id"]), "all is delivered", within_s=TAKEN_OVER_WITHIN_S)


def test_a_job_and_an_asynchronous_call_are_told_of(hooked: Stack, team: LiveTeam, receiver: Receiver) -> None:
    endpoint = subscribe(team, receiver)
    job = team.open_job()
    asynchronous: dict[str, Any] = {"async": True}
    call = team.call(job, **asynchronous).json()["call_id"]
    wait_for(hooked, receiver, 1)
    team.complete(job)
    wait_for(hooked, receiver, 2)

    of_call, of_job = [request.verified(endpoint["secret"]) for request in receiver.requests]
    assert (of_call["type"], of_call["data"]["call_id"], of_call["data"]["state"]) == (
        "call.completed",
        call,
        "succeeded",
    )
    assert (of_job["type"], of_job["data"]["job_id"]) == ("job.completed", job)
    assert (of_job["data"]["credit_applied"], of_job["data"]["credits_remaining"]) == (True, 99)
    for request in receiver.requests:
        assert b"hidden-model" not in request.body
        assert b"secret-model" not in request.body
    wait_for_rest(hooked, endpoint)


def test_refill_exhaustion_and_suspension_are_told_of(hooked: Stack, hook_tenants: Tenants, receiver: Receiver) -> None:
    team = hook_tenants.team([], credits_allocated=0)
    endpoint = subscribe(team, receiver, "credits.refilled", "budget.exhausted", "team.suspended")
    hook_tenants.add_credits(team, 1)
    team.complete(team.open_job())
    hooked.query("UPDATE tenancy_team SET status = 'suspended' WHERE team_id = %s", team.team_id)
    wait_for(hooked, receiver, 3)

    told = [request.verified(endpoint["secret"])["type"] for request in receiver.requests]
    assert told == ["credits.refilled", "budget.exhausted", "team.suspended"]


@pytest.mark.parametrize("point", ["webhooks.sending", "webhooks.sent"])
def test_a_worker_that_is_killed_in_mid_delivery_loses_nothing(
    hooked: Stack, team: LiveTeam, receiver: Receiver, failpoints: Path, point: str
) -> None:
    """Before the request, or after the answer and before it is recorded: then it comes twice, under one id."""
    endpoint = subscribe(team, receiver, "job.completed")
    (failpoints / point).touch()
    jobs = [team.open_job() for _ in range(3)]
    for job in jobs:
        team.complete(job)
    child = hooked.children["webhooks"]
    eventually(lambda: child.process.poll() is not None, "the worker has died", within_s=20, log=child.log)
    hooked.kill("webhooks")
    hooked.start("webhooks")

    wait_for(hooked, receiver, 3, within_s=TAKEN_OVER_WITHIN_S)
    wait_for_rest(hooked, endpoint)

    told = [request.verified(endpoint["secret"])["data"]["job_id"] for request in receiver.requests]
    twice = point == "webhooks.sent"
    assert told == ([jobs[0], *jobs] if twice else jobs)
    assert len(set(receiver.ids)) == 3
    assert (receiver.ids[0] == receiver.ids[1]) is twice


def test_kill_9_while_the_receiver_thinks(hooked: Stack, team: LiveTeam, receiver: Receiver) -> None:
    endpoint = subscribe(team, receiver, "job.completed")
    receiver.gate.clear()
    job = team.open_job()
    team.complete(job)
    wait_for(hooked, receiver, 1)
    hooked.kill("webhooks")
    receiver.gate.set()
    hooked.start("webhooks")

    wait_for_rest(hooked, endpoint)

    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1


def test_a_receiver_that_was_down_gets_everything_in_the_end(hooked: Stack, team: LiveTeam) -> None:
    with running_receiver() as receiver:
        pass
    endpoint = subscribe(team, receiver, "job.completed")
    jobs = [team.open_job() for _ in range(10)]
    for job in jobs:
        team.complete(job)
    tried = "SELECT 1 FROM tenancy_webhookendpoint WHERE id = %s AND consecutive_failures >= 3"
    eventually(lambda: hooked.query(tried, endpoint["endpoint_id"]), "it is down", within_s=20)

    with running_receiver(receiver):
        wait_for(hooked, receiver, 10, within_s=TAKEN_OVER_WITHIN_S)
        wait_for_rest(hooked, endpoint)

    told = [request.payload["data"]["job_id"] for request in receiver.requests]
    assert sorted(told) == sorted(jobs)
    assert told[1:] == [job for job in jobs if job != told[0]]


def test_a_slow_receiver_does_not_hold_up_another(
    hooked: Stack, hook_tenants: Tenants, team: LiveTeam, receiver: Receiver
) -> None:
    other = hook_tenants.team([])
    subscribe(team, receiver, "job.completed")
    with running_receiver() as slow:
        slow.gate.clear()
        subscribe(other, slow, "job.completed")
        for _ in range(5):
            other.complete(other.open_job())
        wait_for(hooked, slow, 1)

        began = time.monotonic()
        team.complete(team.open_job())
        wait_for(hooked, receiver, 1)

        # The beat's second, and a margin for a loaded machine: far less than five timeouts.
        assert time.monotonic() - began < 5


def test_many_events_come_in_order_and_once(hooked: Stack, hook_tenants: Tenants, receiver: Receiver) -> None:
    team = hook_tenants.team([], credits_allocated=200)
    endpoint = subscribe(team, receiver, "job.completed")
    jobs = [team.open_job() for _ in range(200)]
    for job in jobs:
        team.complete(job)

    wait_for(hooked, receiver, 200, within_s=60)
    wait_for_rest(hooked, endpoint)

    assert [request.payload["data"]["job_id"] for request in receiver.requests] == jobs


def test_events_outlive_a_redis_that_forgets(hooked: Stack, team: LiveTeam, receiver: Receiver) -> None:
    subscribe(team, receiver, "job.completed")
    hooked.kill("webhooks")
    jobs = [team.open_job() for _ in range(3)]
    for job in jobs:
        team.complete(job)
    hooked.redis_command("FLUSHALL")
    hooked.start("webhooks")

    wait_for(hooked, receiver, 3)
    assert [request.payload["data"]["job_id"] for request in receiver.requests] == jobs


def test_low_credits_are_told_of_by_webhook_and_by_mail(
    hooked: Stack, hook_tenants: Tenants, receiver: Receiver, mails: Path, failpoints: Path
) -> None:
    """The process that sends the mail is killed just before: the mail waits, and another one sends it."""
    team = hook_tenants.team([], credits_allocated=10)
    endpoint = subscribe(team, receiver, "credits.low")
    (failpoints / "mails.sending").touch()
    team.complete(team.open_job())
    child = hooked.children["webhooks"]
    eventually(lambda: child.process.poll() is not None, "the sender has died", within_s=60, log=child.log)
    hooked.kill("webhooks")
    # Two minutes of waiting for the dead one are not what is tested here.
    hooked.query("UPDATE tenancy_alertmail SET next_try_at = now() WHERE state = 'pending'")
    hooked.start("webhooks")

    wait_for(hooked, receiver, 1, within_s=TAKEN_OVER_WITHIN_S)
    assert receiver.requests[0].verified(endpoint["secret"])["data"]["credits_remaining"] == 9
    eventually(lambda: _mails_about(mails, team), "the mail is there", within_s=30, log=hooked.log("webhooks"))
    # A round of the rules later it is still one.
    time.sleep(31)
    assert len(_mails_about(mails, team)) == 1
    assert len(receiver.requests) == 1


def _mails_about(folder: Path, team: LiveTeam) -> list[str]:
    texts = [file.read_text() for file in folder.glob("*.log")]
    return [text for text in texts if f"credits.low {team.team_id} 10" in text and "To: operator@example.com" in text]
