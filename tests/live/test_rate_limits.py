"""Limits to requests, tokens and calls in flight, on real processes: held to by all of them together."""

import asyncio
import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fake_provider import COMPLETION_TOKENS, PROMPT_TOKENS
from tests.support.live import MESSAGES, LiveTeam, MakeStack, Tenants
from tests.support.stack import FakeProvider, Stack, eventually

TOKENS = PROMPT_TOKENS + COMPLETION_TOKENS
#: This many requests against a limit of a tenth of them, over the limit's own minute.
OFFERED, LIMIT, OFFERED_OVER_S = 6000, 600, 57.0


@pytest.fixture(scope="module")
def failpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("failpoints")


@pytest.fixture(scope="module")
def quick(make_stack: MakeStack, failpoints: Path) -> Iterator[Stack]:
    """Two web processes, and a minute of four seconds."""
    names = ("web", "web-2", "worker", "maintenance", "beat")
    with make_stack(*names, RATE_LIMIT_WINDOW_S="4", FAILPOINTS=str(failpoints)) as running:
        yield running


@pytest.fixture(scope="module")
def quick_tenants(quick: Stack, provider: FakeProvider) -> Tenants:
    return Tenants.on(quick, provider)


def limited_team(tenants: Tenants, behaviour: str = "ok", **limits: int) -> LiveTeam:
    team = tenants.team([tenants.group(behaviour)])
    answer = tenants.operator.patch(f"/api/teams/{team.team_id}/limits", json=limits)
    assert answer.status_code == 200, answer.text
    return team


def key_of(tenants: Tenants, team: LiveTeam, **terms: Any) -> str:
    answer = tenants.operator.post(f"/api/teams/{team.team_id}/keys", json=terms)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["virtual_key"])


def direct(team: LiveTeam, **fields: Any) -> httpx.Response:
    return team.api.post("/v1/chat/completions", json={"model": "secret-model-0", "messages": MESSAGES, **fields})


def figures(answer: httpx.Response, kind: str) -> tuple[int, int]:
    """Limit and remaining."""
    return int(answer.headers[f"x-ratelimit-limit-{kind}"]), int(answer.headers[f"x-ratelimit-remaining-{kind}"])


def reset_s(answer: httpx.Response, kind: str) -> float:
    found = re.fullmatch(r"(?:(\d+)m)?(?:([\d.]+)(ms|s))", answer.headers[f"x-ratelimit-reset-{kind}"])
    assert found is not None
    return int(found[1] or 0) * 60 + float(found[2]) / (1000 if found[3] == "ms" else 1)


def test_each_way_to_call_is_counted_and_told_of(tenants: Tenants) -> None:
    team = limited_team(tenants, requests_per_minute=20, tokens_per_minute=100_000)
    job = team.open_job()
    as_async: dict[str, Any] = {"async": True}
    new_job = {"team_id": team.team_id, "job_type": "x", "model_group": team.group, "messages": MESSAGES}

    answers = [
        team.call(job),
        team.call(job, stream=True),
        team.call(job, **as_async),
        team.api.post("/api/jobs/create-and-call", json=new_job),
        direct(team),
        direct(team, stream=True),
        team.api.post("/v1/embeddings", json={"model": "secret-model-0", "input": "x"}),
        # Refused for another reason: it was a request, and took no token.
        team.call(job, model_group="none"),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 202, 200, 200, 200, 200, 403]
    assert [figures(answer, "requests") for answer in answers] == [(20, 19 - index) for index in range(8)]
    for answer in answers:
        assert figures(answer, "tokens")[0] == 100_000
        assert 0 < reset_s(answer, "requests") <= 60.5
    # What is no call is not counted, and has no figures.
    assert not any("ratelimit" in name for name in team.api.get(f"/api/jobs/{job}").headers)
    assert not any("ratelimit" in name for name in direct(tenants.team([team.group])).headers)


def test_tokens_are_settled_whatever_way_a_call_went(tenants: Tenants) -> None:
    """The estimate is far higher, and the next call's figures show what was really taken."""
    forms: list[dict[str, Any]] = [{}, {"stream": True}, {"async": True}]
    for fields in forms:
        team = limited_team(tenants, tokens_per_minute=50_000)
        job = team.open_job()
        first = team.call(job, max_tokens=20_000, **fields)
        assert figures(first, "tokens")[1] < 30_000

        def taken(team: LiveTeam = team, job: str = job) -> bool:
            return figures(team.call(job, model_group="none", max_tokens=1), "tokens")[1] > 49_000

        eventually(taken, "the estimate is given back", within_s=10)


def test_a_call_that_is_refused_after_all_takes_no_tokens_and_says_so(tenants: Tenants) -> None:
    team = limited_team(tenants, tokens_per_minute=50_000)
    job = team.open_job()

    refused = [
        team.call(job, model_group="none", max_tokens=20_000),
        team.call(str(uuid.uuid4()), max_tokens=20_000),
        direct(team, model="none", max_tokens=20_000),
    ]

    assert [answer.status_code for answer in refused] == [403, 404, 403]
    assert [figures(answer, "tokens") for answer in refused] == [(50_000, 50_000)] * 3
    assert {reset_s(answer, "tokens") for answer in refused} == {0}


def test_a_failed_calls_tokens_are_given_back(tenants: Tenants) -> None:
    team = limited_team(tenants, "status-400", tokens_per_minute=50_000, max_calls_in_flight=1)
    job = team.open_job()
    assert team.call(job, max_tokens=40_000).status_code >= 400
    again = team.call(job, max_tokens=40_000)
    assert again.status_code != 429, again.text


def test_after_a_bug_nobody_knows_what_was_taken_and_the_estimate_stays(stack: Stack, tenants: Tenants) -> None:
    team = limited_team(tenants, tokens_per_minute=50_000)
    job = team.open_job()
    key_that_nobody_can_read = """
        UPDATE modelgroups_groupmodel SET api_key_encrypted = 'x'
        WHERE group_id = (SELECT id FROM modelgroups_modelgroup WHERE group_name = %s)
    """
    stack.query(key_that_nobody_can_read, team.group)

    failed = team.call(job, max_tokens=20_000)

    assert failed.status_code >= 500
    (row,) = stack.query("SELECT cause FROM jobs_call WHERE job_id = %s", job)
    assert row["cause"] == "internal"
    assert figures(team.call(job, max_tokens=10), "tokens")[1] < 30_000


def test_a_refusal_says_which_limit_leaves_no_record_and_tells_the_truth(quick: Stack, quick_tenants: Tenants) -> None:
    team = limited_team(quick_tenants, requests_per_minute=2)
    job = team.open_job()
    for _ in range(2):
        assert team.call(job).status_code == 200

    refused = team.call(job)

    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert "this team may take 2 requests per minute" in refused.json()["detail"]
    assert figures(refused, "requests") == (2, 0)
    retry_after_s = int(refused.headers["Retry-After"])
    assert 1 <= retry_after_s <= 5
    assert len(team.api.get(f"/api/jobs/{job}").json()["calls"]) == 2
    openai = direct(team)
    assert (openai.status_code, openai.json()["error"]["type"]) == (429, "requests")
    assert openai.json()["error"]["code"] == "rate_limit_exceeded"
    assert "x-should-retry" not in openai.headers
    time.sleep(retry_after_s)
    assert team.call(job).status_code == 200
    # One credit was held for the job, and nothing for what was refused.
    assert team.balance()["credits_held"] == 1


def test_a_call_too_large_for_its_limit_is_not_to_be_tried_again(quick_tenants: Tenants) -> None:
    team = limited_team(quick_tenants, tokens_per_minute=500)

    refused = direct(team, max_tokens=1000)

    error = refused.json()["error"]
    assert (refused.status_code, error["type"], error["code"]) == (429, "tokens", "rate_limit_exceeded")
    assert "this team may take 500 tokens per minute" in error["message"]
    assert refused.headers["x-should-retry"] == "false"
    assert "Retry-After" not in refused.headers
    assert figures(refused, "tokens") == (500, 500)
    # Without a limit to the answer, it is not the answer that makes it too large.
    assert direct(team).status_code == 200


def test_a_replay_is_not_counted(quick_tenants: Tenants) -> None:
    team = limited_team(quick_tenants, requests_per_minute=1)
    job, key = team.open_job(), {"Idempotency-Key": uuid.uuid4().hex}
    first = team.call(job, headers=key)
    replayed = [team.call(job, headers=key) for _ in range(3)]

    assert [answer.status_code for answer in (first, *replayed)] == [200] * 4
    assert {answer.headers["Idempotency-Replayed"] for answer in replayed} == {"true"}
    refused_key = {"Idempotency-Key": uuid.uuid4().hex}
    assert team.call(job, headers=refused_key).status_code == 429
    time.sleep(4.2)
    # A refusal gives its key back.
    assert team.call(job, headers=refused_key).status_code == 200


def test_a_key_has_limits_of_its_own_below_its_teams(stack: Stack, tenants: Tenants) -> None:
    team = limited_team(tenants, requests_per_minute=5)
    job = team.open_job()
    key = key_of(tenants, team, requests_per_minute=1)
    narrow = LiveTeam(team.team_id, key, team.group, stack.client(key))
    first, refused = narrow.call(job), narrow.call(job)
    assert figures(first, "requests") == (1, 0)
    assert refused.status_code == 429
    assert "this key may take 1 requests per minute" in refused.json()["detail"]
    # The refused one has taken nothing of the team's.
    assert figures(team.call(job), "requests") == (5, 3)
    # An operator's call counts for the team.
    body = {"model_group": team.group, "messages": MESSAGES}
    assert figures(tenants.operator.post(f"/api/jobs/{job}/llm-call", json=body), "requests") == (5, 2)


@pytest.mark.parametrize("whose", ["team", "key"])
def test_calls_in_flight_are_exact_over_processes_and_free_again(
    quick: Stack, quick_tenants: Tenants, provider: FakeProvider, whose: str
) -> None:
    held = f"held/{uuid.uuid4().hex}"
    team = limited_team(quick_tenants, held, **({"max_calls_in_flight": 3} if whose == "team" else {}))
    key = key_of(quick_tenants, team, **({"max_calls_in_flight": 3} if whose == "key" else {}))
    job = team.open_job()
    clients = [quick.client(key, web=web) for web in ("web", "web-2")]
    teams = [LiveTeam(team.team_id, key, team.group, api) for api in clients]
    with ThreadPoolExecutor(24) as threads:
        answers = [threads.submit(teams[index % 2].call, job) for index in range(24)]
        provider.wait_for(held, 3)
        eventually(lambda: sum(answer.done() for answer in answers) == 21, "the others are refused", within_s=15)
        refused = [answer.result() for answer in answers if answer.done()]
        assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(429, "too_many_requests")}
        assert f"at most 3 calls of a {whose} may be in flight" in refused[0].json()["detail"]
        provider.release(held)
        assert Counter(answer.result(20).status_code for answer in answers) == {200: 3, 429: 21}
        assert provider.requests(held) == 3
        assert teams[0].call(job).status_code == 200


def test_the_slot_of_a_client_who_left_the_queue_is_free_again(quick: Stack, quick_tenants: Tenants) -> None:
    team = limited_team(quick_tenants, max_calls_in_flight=1)
    job = team.open_job()
    payload = {"model_group": team.group, "messages": MESSAGES, "stream": True}
    cancelled = "SELECT 1 FROM jobs_call WHERE job_id = %s AND state = 'cancelled'"

    def is_cancelled(count: int) -> bool:
        return len(quick.query(cancelled, job)) == count

    quick.stop("worker")
    try:
        for count in (1, 2):
            with pytest.raises(httpx.ReadTimeout):
                team.api.post(f"/api/jobs/{job}/llm-call", json=payload, timeout=1)
            eventually(partial(is_cancelled, count), "it is cancelled", within_s=10)
    finally:
        quick.start("worker")
    assert team.call(job).status_code == 200


def test_the_slot_of_a_worker_that_died_is_free_again(
    quick: Stack, quick_tenants: Tenants, provider: FakeProvider
) -> None:
    held = f"held/{uuid.uuid4().hex}"
    team = limited_team(quick_tenants, held, max_calls_in_flight=1)
    job = team.open_job()
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(team.call, job)
        provider.wait_for(held, 1)
        assert team.call(job).status_code == 429
        quick.kill("worker")
        quick.start("worker")
        assert call.result(40).status_code == 503
        provider.release(held)
    ok = quick_tenants.group("ok")
    names = [team.group, ok]
    assert quick_tenants.operator.put(f"/api/teams/{team.team_id}/model-groups", json=names).status_code == 200
    eventually(lambda: team.call(job, model_group=ok).status_code == 200, "the slot is free", within_s=10)


@pytest.mark.parametrize("point", ["web.call_limited", "worker.recorded"])
def test_the_slot_of_a_call_whose_end_nobody_could_settle_is_free_again(
    quick: Stack, quick_tenants: Tenants, failpoints: Path, point: str
) -> None:
    """It was never written down, or is on record as ended: no sweeper has an end of it to record."""
    team = limited_team(quick_tenants, max_calls_in_flight=1)
    # By the other web process: the first may die.
    beside = LiveTeam(team.team_id, team.key, team.group, quick.client(team.key, web="web-2"))
    job, armed = team.open_job(), failpoints / point
    armed.touch()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(team.call, job)
        eventually(lambda: not armed.exists(), f"somebody dies at {point}", within_s=10)
        assert beside.call(job).status_code == 429
        if point.startswith("worker"):
            # gunicorn starts web again by itself.
            quick.kill("worker")
            quick.start("worker")
        eventually(lambda: beside.call(job).status_code == 200, "the slot is free", within_s=30)


@pytest.mark.alone
def test_ten_times_over_the_limit_the_limit_is_admitted(make_stack: MakeStack, provider: FakeProvider) -> None:
    """Over almost a minute, from two web processes. And what the headers say is so."""
    with make_stack("web", "web-2", "worker") as stack:
        team = limited_team(Tenants.on(stack, provider), requests_per_minute=LIMIT)
        ports = [int(stack.url(web).rpartition(":")[2]) for web in ("web", "web-2")]
        answers = asyncio.run(Offering(ports, team.key).run())

    statuses = Counter(status for status, _ in answers)
    assert set(statuses) == {200, 429}
    assert sum(statuses.values()) >= OFFERED / 2, "the machine is too slow for this test"
    assert abs(statuses[200] / LIMIT - 1) <= 0.02, statuses
    # Each admitted one was told of another place left, over both processes; the refused ones of none.
    left = sorted(int(headers["x-ratelimit-remaining-requests"]) for status, headers in answers if status == 200)
    assert left == list(range(LIMIT - statuses[200], LIMIT))
    refused = [headers for status, headers in answers if status == 429]
    assert {headers["x-ratelimit-remaining-requests"] for headers in refused} == {"0"}
    assert {headers["x-ratelimit-limit-requests"] for headers in refused} == {str(LIMIT)}
    assert all(1 <= int(headers["retry-after"]) <= 60 for headers in refused)


class Offering:
    """So many requests, evenly over the time, in turn to each process; by hand, because a library would be slower."""

    CONNECTIONS = 40

    def __init__(self, ports: list[int], key: str) -> None:
        body = json.dumps({"model": "secret-model-0", "messages": MESSAGES})
        self._request = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        self._ports = ports
        self._next = 0

    async def run(self) -> list[tuple[int, dict[str, str]]]:
        """Status and headers of each answer that came before the time was over."""
        self._began = time.monotonic()
        each = [self._connection(self._ports[index % len(self._ports)]) for index in range(self.CONNECTIONS)]
        return [answer for answers in await asyncio.gather(*each) for answer in answers]

    async def _connection(self, port: int) -> list[tuple[int, dict[str, str]]]:
        answers: list[tuple[int, dict[str, str]]] = []
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while self._next < OFFERED and time.monotonic() - self._began < OFFERED_OVER_S:
            self._next += 1
            await asyncio.sleep(self._began + self._next * OFFERED_OVER_S / OFFERED - time.monotonic())
            writer.write(self._request)
            async with asyncio.timeout(30):
                status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                await reader.readexactly(int(headers["content-length"]))
            answers.append((int(status.split()[1]), headers))
        writer.close()
        return answers


def test_each_user_has_his_own_minute(tenants: Tenants) -> None:
    """Named on OpenAI's paths or by a job of one call; a call that names nobody is held to nothing."""
    team = limited_team(tenants, user_requests_per_minute=2)
    call = {"team_id": team.team_id, "job_type": "x", "user_id": "bob", "model_group": team.group, "messages": MESSAGES}
    assert direct(team, user="bob").status_code == 200
    assert team.api.post("/api/jobs/create-and-call", json=call).status_code == 200

    refused = direct(team, user="bob")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert "this user may take 2 requests" in refused.json()["error"]["message"]
    assert team.api.post("/api/jobs/create-and-call", json=call).status_code == 429
    assert direct(team, user="alice").status_code == 200
    assert [direct(team).status_code for _ in range(3)] == [200] * 3
