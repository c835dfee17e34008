"""A team's users on real processes: first sights and limits under load, odd names, and erasure to its end."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.live.burst import Clients, Post, client_processes
from tests.live.ledger_rules import assert_ledger_is_sound
from tests.support.fake_provider import COMPLETION_TOKENS
from tests.support.live import MESSAGES, LiveTeam, Tenants
from tests.support.stack import Stack, eventually

CLIENTS = 64
LIMIT = 10
ROUNDS = 5
#: A model at an eighth of a dollar per token of its answer.
DEAR: Any = {"input_cost_per_token": 0, "output_cost_per_token": 0.125}


@pytest.fixture(scope="module")
def urls(stack: Stack) -> Iterator[list[str]]:
    """Of two web processes."""
    stack.start("web-2")
    yield [stack.url("web"), stack.url("web-2")]
    stack.kill("web-2")


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    with client_processes(4) as running:
        yield running


def path(team: LiveTeam, user: str, *more: str) -> str:
    return "/".join([f"/api/teams/{team.team_id}/users", quote(user, safe=""), *more])


def job_for(team: LiveTeam, user: str) -> dict[str, Any]:
    return {"team_id": team.team_id, "job_type": "race", "user_id": user}


def limit(team: LiveTeam, user: str, **limits: Any) -> None:
    """Of a user, who is made by a job that fails."""
    job = team.api.post("/api/jobs/create", json=job_for(team, user)).json()["job_id"]
    team.complete(job, "failed")
    answer = team.api.patch(path(team, user), json={"limits": limits})
    assert answer.status_code == 200, answer.text


def deadlocks(stack: Stack) -> int:
    (row,) = stack.query("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(row["deadlocks"])


def test_of_all_jobs_at_once_as_many_open_as_the_user_has_credits(
    stack: Stack, tenants: Tenants, clients: Clients, urls: list[str]
) -> None:
    rounds = []
    for _ in range(ROUNDS):
        team = tenants.team(credits_allocated=CLIENTS + 1)
        limit(team, "bob", credits_per_month=LIMIT)
        posts = [Post(urls[n % 2] + "/api/jobs/create", team.key, job_for(team, "bob")) for n in range(CLIENTS)]

        replies = clients.fire(posts)

        rounds.append(Counter(reply.status for reply in replies))
        assert {reply.body["code"] for reply in replies if reply.status == 402} == {"user_limit_reached"}
        used = team.api.get(path(team, "bob", "usage")).json()
        assert used["allowances"]["credits"] == {"limit": LIMIT, "used": LIMIT}
        assert used["summary"]["total_jobs"] == LIMIT + 1
    assert rounds == [{200: LIMIT, 402: CLIENTS - LIMIT}] * ROUNDS
    assert_ledger_is_sound(stack)


def test_direct_calls_at_once_stay_within_the_users_limit(
    stack: Stack, tenants: Tenants, clients: Clients, urls: list[str]
) -> None:
    """Each is estimated at what it costs."""
    team = tenants.team([tenants.group("ok", **DEAR)], credits_allocated=5000)
    cost = COMPLETION_TOKENS * Decimal("0.125")
    limit(team, "bob", direct_cost_usd_per_month=float(cost * LIMIT))
    body = {"model": team.group, "messages": MESSAGES, "user": "bob", "max_tokens": COMPLETION_TOKENS}

    replies = clients.fire([Post(urls[n % 2] + "/v1/chat/completions", team.key, body) for n in range(CLIENTS)])

    assert Counter(reply.status for reply in replies) == {200: LIMIT, 402: CLIENTS - LIMIT}
    assert {reply.body["error"]["code"] for reply in replies if reply.status == 402} == {"insufficient_quota"}
    used = team.api.get(path(team, "bob", "usage")).json()
    spent = float(cost * LIMIT)
    assert used["allowances"]["direct_cost_usd"] == {"limit": spent, "used": spent, "reserved": 0}
    assert used["direct"]["calls"] == LIMIT
    assert_ledger_is_sound(stack)


def test_everything_at_once_locks_nobody_out(stack: Stack, tenants: Tenants, clients: Clients, urls: list[str]) -> None:
    """First sights, limited users, jobs of one call and direct calls of one team."""
    team = tenants.team([tenants.group("ok")], credits_allocated=5000)
    for user in ("bob", "alice"):
        limit(team, user, credits_per_month=1000, direct_cost_usd_per_month=1000)
    before = deadlocks(stack)
    for number in range(3):
        posts = []
        for n in range(CLIENTS):
            user = ("bob", "alice", f"new-{number}", f"new-{number}-{n % 5}")[n % 4]
            chat = {"model": team.group, "messages": MESSAGES, "user": user}
            call = {**job_for(team, user), "model_group": team.group, "messages": MESSAGES}
            to, what = (
                ("/api/jobs/create", job_for(team, user)),
                ("/v1/chat/completions", chat),
                ("/api/jobs/create-and-call", call),
                ("/v1/chat/completions", {"model": team.group, "messages": MESSAGES}),
            )[n // 4 % 4]
            posts.append(Post(urls[n % 2] + to, team.key, what))
        assert Counter(reply.status for reply in clients.fire(posts)) == {200: CLIENTS}
    assert deadlocks(stack) == before
    assert_ledger_is_sound(stack)
    names = [row["user_id"] for row in stack.query(
        "SELECT user_id FROM tenancy_teamuser u JOIN tenancy_team t ON t.id = u.team_id WHERE t.team_id = %s",
        team.team_id,
    )]  # fmt: skip
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "user", ["bob@example.com", "a b?c#d%2F", "Jürgen", "a/b", "x" * 4000, "line\nbreak", "..", "~erased-1", " "]
)
def test_no_call_is_refused_for_its_users_name(tenants: Tenants, team: LiveTeam, user: str) -> None:
    body = {"model": team.group, "messages": MESSAGES, "user": user}
    assert team.api.post("/v1/chat/completions", json=body).status_code == 200
    plain = user.isprintable() and len(user) <= 128 and user not in ("a/b", "..", "~erased-1")
    name = user if plain else "~" + hashlib.sha256(user.encode()).hexdigest()
    assert team.api.get(path(team, name, "usage")).json()["direct"]["calls"] == 1
    assert team.api.delete(path(team, name)).status_code == 202


@pytest.mark.parametrize(
    "field", [{"user": ""}, {"user": None}, {"user": 7}, {"user": ["x"]}, {"safety_identifier": {}}]
)
def test_what_is_no_name_is_no_user(stack: Stack, team: LiveTeam, field: dict[str, Any]) -> None:
    body = {"model": team.group, "messages": MESSAGES, **field}
    assert team.api.post("/v1/chat/completions", json=body).status_code == 200
    assert team.api.get(f"/api/teams/{team.team_id}/users").json()["total_users"] == 0


@pytest.fixture
def team(tenants: Tenants) -> LiveTeam:
    return tenants.team([tenants.group("ok")])


def test_a_call_in_a_job_names_its_own_user(team: LiveTeam) -> None:
    job = team.api.post("/api/jobs/create", json=job_for(team, "bob")).json()["job_id"]
    assert team.call(job).status_code == 200
    chat = {"model": team.group, "messages": MESSAGES}
    for body in (chat, {**chat, "safety_identifier": "alice"}):
        answer = team.api.post("/v1/chat/completions", json=body, headers={"X-Job-Id": job})
        assert answer.status_code == 200, answer.text

    assert team.api.get(path(team, "bob", "usage")).json()["total_calls"] == 2
    assert team.api.get(path(team, "alice", "usage")).json()["total_calls"] == 1


def test_a_blocked_user_is_told_so_in_openais_words(team: LiveTeam) -> None:
    body = {"model": team.group, "messages": MESSAGES, "user": "bob"}
    assert team.api.post("/v1/chat/completions", json=body).status_code == 200
    team.api.patch(path(team, "bob"), json={"status": "blocked"})
    answer = team.api.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "user_blocked")


def test_a_user_is_erased_by_the_beat_and_the_books_prove_it(stack: Stack, team: LiveTeam) -> None:
    mark = "erase-me-please"
    body = {**job_for(team, mark), "metadata": {"of": mark}, "model_group": team.group, "messages": MESSAGES}
    key = {"Idempotency-Key": "k"}
    done = team.api.post("/api/jobs/create-and-call", json={**body, "purpose": mark}, headers=key)
    assert done.status_code == 200, done.text
    open_job = team.api.post("/api/jobs/create", json=job_for(team, mark)).json()["job_id"]
    before = [team.api.get(f"/api/teams/{team.team_id}/{what}").json() for what in ("usage", "statement")]

    answer = team.api.delete(path(team, mark))
    assert answer.status_code == 202
    pseudonym = answer.json()["user_id"]

    def erased_job() -> bool:
        return bool(team.api.get(f"/api/jobs/{done.json()['job_id']}").json()["user_id"] == pseudonym)

    eventually(erased_job, "the ended job is erased", within_s=40)
    assert state(team, pseudonym) == "erasing"
    assert [team.api.get(f"/api/teams/{team.team_id}/{what}").json() for what in ("usage", "statement")] == before
    assert team.complete(open_job, "failed").status_code == 200
    eventually(lambda: state(team, pseudonym) == "erased", "the user is erased", within_s=40)
    for table in ("jobs_job", "jobs_call", "tenancy_teamuser", "tenancy_webhookevent", "tenancy_auditentry"):
        assert stack.query(f"SELECT 1 FROM {table} t WHERE t::text LIKE %s", f"%{mark}%") == [], table  # noqa: S608
    assert "sound" in stack.manage("verify_ledger")
    assert_ledger_is_sound(stack)


def state(team: LiveTeam, user: str) -> str:
    answer: httpx.Response = team.api.get(path(team, user))
    return str(answer.json()["status"])
