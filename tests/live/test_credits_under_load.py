"""Fifty clients at once, two web processes, one credit."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.live.burst import Clients, Post, client_processes
from tests.live.ledger_rules import assert_ledger_is_sound
from tests.support.live import LiveTeam, Tenants
from tests.support.stack import Stack

CLIENTS = 50
ROUNDS = 20


@pytest.fixture(scope="module")
def urls(stack: Stack) -> Iterator[list[str]]:
    """Of two web processes."""
    stack.start("web-2")
    yield [stack.url("web"), stack.url("web-2")]
    stack.kill("web-2")


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    with client_processes(5) as running:
        yield running


def spread(urls: list[str], path: str, team: LiveTeam, body: dict[str, str]) -> list[Post]:
    """The same request by every client, half of them to each web process."""
    # Blocks, because every fifth request goes to the same client process.
    return [Post(urls[number * 2 // CLIENTS] + path, team.key, body) for number in range(CLIENTS)]


def test_the_last_credit_opens_one_job(stack: Stack, tenants: Tenants, clients: Clients, urls: list[str]) -> None:
    rounds = []
    for _ in range(ROUNDS):
        team = tenants.team(credits_allocated=1)
        body = {"team_id": team.team_id, "job_type": "race"}

        replies = clients.fire(spread(urls, "/api/jobs/create", team, body))

        rounds.append(Counter(reply.status for reply in replies))
        refusals = {reply.body["detail"] for reply in replies if reply.status == 402}
        assert refusals == {"Insufficient credits. Required: 1, Available: 0"}
        (jobs,) = stack.query(
            "SELECT count(*) FROM jobs_job j JOIN tenancy_team t ON t.id = j.team_id WHERE t.team_id = %s",
            team.team_id,
        )
        assert jobs["count"] == 1
    assert rounds == [{200: 1, 402: CLIENTS - 1}] * ROUNDS
    assert_ledger_is_sound(stack)


def test_a_job_completed_by_all_is_charged_once(
    stack: Stack, tenants: Tenants, clients: Clients, urls: list[str]
) -> None:
    team = tenants.team(credits_allocated=ROUNDS)
    for number in range(1, ROUNDS + 1):
        job = team.open_job()

        replies = clients.fire(spread(urls, f"/api/jobs/{job}/complete", team, {"status": "completed"}))

        assert {reply.status for reply in replies} == {200}
        assert len({reply.text for reply in replies}) == 1
        costs = replies[0].body["costs"]
        assert (costs["credit_applied"], costs["credits_remaining"]) == (True, ROUNDS - number)
        deductions = stack.query("SELECT amount FROM billing_ledgerentry WHERE job_id = %s", job)
        assert [entry["amount"] for entry in deductions] == [-1]
    assert team.balance()["credits_used"] == ROUNDS
    assert_ledger_is_sound(stack)


def test_completed_and_failed_at_once_end_a_job_one_way(
    stack: Stack, tenants: Tenants, clients: Clients, urls: list[str]
) -> None:
    team = tenants.team(credits_allocated=ROUNDS)
    charged = 0
    for _ in range(ROUNDS):
        path = f"/api/jobs/{team.open_job()}/complete"
        completing = spread(urls, path, team, {"status": "completed"})[::2]
        failing = spread(urls, path, team, {"status": "failed"})[::2]

        replies = clients.fire([post for pair in zip(completing, failing, strict=True) for post in pair])

        statuses = Counter(reply.status for reply in replies)
        assert statuses == {200: CLIENTS // 2, 409: CLIENTS // 2}
        charged += any(reply.status == 200 and reply.body["costs"]["credit_applied"] for reply in replies)
    assert team.balance()["credits_used"] == charged
    assert team.balance()["credits_held"] == 0
    assert_ledger_is_sound(stack)
