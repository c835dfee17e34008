"""What cannot be taken on is refused at once; what has been taken on is finished, also by a process that is to go."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.live import LiveTeam, MakeStack, Tenants
from tests.support.stack import FakeProvider, Stack, eventually


@pytest.fixture(scope="module")
def narrow(make_stack: MakeStack) -> Iterator[Stack]:
    with make_stack("web", "worker", TEAM_CALLS_IN_FLIGHT="2", MAX_QUEUED_CALLS="3") as running:
        yield running


@pytest.fixture(scope="module")
def narrow_tenants(narrow: Stack, provider: FakeProvider) -> Tenants:
    return Tenants.on(narrow, provider)


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def held_team(tenants: Tenants) -> tuple[LiveTeam, str]:
    held = f"held/{uuid.uuid4().hex}"
    return tenants.team([tenants.group(held)]), held


def test_a_team_has_so_many_calls_in_flight_and_no_more(
    narrow_tenants: Tenants, provider: FakeProvider, background: ThreadPoolExecutor
) -> None:
    team, held = held_team(narrow_tenants)
    job = team.open_job()
    running = [background.submit(team.call, job) for _ in range(2)]
    provider.wait_for(held, 2)

    refused = team.call(job)

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert int(refused.headers["Retry-After"]) >= 1
    another = narrow_tenants.team([narrow_tenants.group("ok")])
    assert another.call(another.open_job()).status_code == 200
    provider.release(held)
    assert [call.result(15).status_code for call in running] == [200, 200]
    assert len(team.api.get(f"/api/jobs/{job}").json()["calls"]) == 2


@pytest.mark.parametrize("form", [{}, {"async": True}])
def test_calls_that_no_worker_takes_are_refused_before_they_pile_up(
    narrow: Stack, narrow_tenants: Tenants, background: ThreadPoolExecutor, form: dict[str, Any]
) -> None:
    teams = [narrow_tenants.team([narrow_tenants.group("ok")]) for _ in range(4)]
    jobs = [team.open_job() for team in teams]
    narrow.stop("worker")
    accepted = 202 if form else 200
    waiting = [background.submit(team.call, job, **form) for team, job in zip(teams[:3], jobs, strict=False)]
    asked: list[httpx.Response] = []

    def is_refused() -> bool:
        asked.append(teams[3].call(jobs[3], model_group="none", **form))
        return asked[-1].status_code == 503

    eventually(is_refused, "the queue is full", within_s=10)
    assert {answer.status_code for answer in asked[:-1]} <= {403}
    assert asked[-1].json()["code"] == "overloaded"
    assert int(asked[-1].headers["Retry-After"]) >= 1
    narrow.start("worker")
    assert [call.result(30).status_code for call in waiting] == [accepted] * 3
    queued = "SELECT 1 FROM jobs_call WHERE ended_at IS NULL"
    # An asynchronous call of which Redis knows is taken by the new worker at once.
    eventually(lambda: not narrow.query(queued), "all calls end", within_s=20, log=narrow.log("worker"))


def test_a_team_that_may_have_none_in_flight_has_none(narrow: Stack, narrow_tenants: Tenants) -> None:
    team = narrow_tenants.team([narrow_tenants.group("ok")])
    narrow.query("UPDATE tenancy_team SET max_calls_in_flight = 0 WHERE team_id = %s", team.team_id)

    job = team.open_job()
    # How long the queue is, web looks at once a second; another test may just have filled it.
    eventually(lambda: team.call(job).status_code != 503, "the queue has room", within_s=10)
    assert team.call(job).status_code == 429


def test_a_worker_takes_no_more_than_it_has_room_for(
    make_stack: MakeStack, provider: FakeProvider, background: ThreadPoolExecutor
) -> None:
    with make_stack("web", "worker", CALL_CONCURRENCY="2") as stack:
        team, held = held_team(Tenants.on(stack, provider))
        job = team.open_job()
        running = [background.submit(team.call, job) for _ in range(6)]
        provider.wait_for(held, 2)
        full = "SELECT count(*) AS calls FROM jobs_call WHERE state = 'queued'"
        eventually(lambda: stack.query(full)[0]["calls"] == 4, "four wait", within_s=10)
        assert provider.requests(held) == 2

        # One is in the worker's hand; the others are there for anybody.
        eventually(lambda: stack.redis_command("LLEN", "calls") >= 3, "three are in the queue", within_s=10)
        stack.start("worker-2")
        provider.wait_for(held, 4)
        provider.release(held)
        assert [call.result(30).status_code for call in running] == [200] * 6


@pytest.mark.parametrize("process", ["worker", "web"])
def test_a_process_that_is_asked_to_go_finishes_its_calls_first(
    make_stack: MakeStack, provider: FakeProvider, background: ThreadPoolExecutor, process: str
) -> None:
    with make_stack("web", "worker") as stack:
        tenants = Tenants.on(stack, provider)
        team, held = held_team(tenants)
        # gunicorn waits for idle connections, too: until their keep-alive is over.
        tenants.operator.close()
        job = team.open_job()
        call = background.submit(team.call, job)
        provider.wait_for(held)
        child = stack.children[process].process

        child.terminate()
        with pytest.raises(TimeoutError):
            call.result(1)
        provider.release(held)

        assert call.result(15).status_code == 200
        assert child.wait(15) == 0
        [row] = stack.query("SELECT state FROM jobs_call WHERE job_id = %s", job)
        assert row["state"] == "succeeded"
        del stack.children[process]
