"""What cannot be taken on is refused at once; what has been taken on is finished, also by a process that is to go."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

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


def test_calls_that_no_worker_takes_are_refused_before_they_pile_up(
    narrow: Stack, narrow_tenants: Tenants, background: ThreadPoolExecutor
) -> None:
    teams = [narrow_tenants.team([narrow_tenants.group("ok")]) for _ in range(4)]
    jobs = [team.open_job() for team in teams]
    narrow.stop("worker")
    waiting = [background.submit(team.call, job) for team, job in zip(teams[:3], jobs, strict=False)]

    def refusal() -> httpx.Response | None:
        answer = teams[3].api.post(f"/api/jobs/{jobs[3]}/llm-call", json={"model_group": "", "messages": []})
        assert answer.status_code == 400
        answer = teams[3].call(jobs[3], **{"async": True})
        return answer if answer.status_code == 503 else None

    refused = eventually(refusal, "the queue is full", within_s=10)
    assert refused.json()["code"] == "overloaded"
    assert int(refused.headers["Retry-After"]) >= 1
    narrow.start("worker")
    assert [call.result(30).status_code for call in waiting] == [200, 200, 200]


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
