"""Every row of the contract's table of status codes, and every error text that the guide prints."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.live import LiveTeam, MakeStack, Tenants
from tests.support.stack import FakeProvider, Stack

NOBODY = "00000000-0000-4000-8000-000000000000"


@dataclass
class World:
    """A tenant with one of everything, and what refusals need besides."""

    tenants: Tenants
    team: LiveTeam
    other: LiveTeam
    anonymous: httpx.Client
    open_job: str
    done_job: str
    failed_call: tuple[str, str]

    @property
    def operator(self) -> httpx.Client:
        return self.tenants.operator

    def call(self, job: str, **fields: Any) -> httpx.Response:
        return self.team.call(job, **fields)


@pytest.fixture(scope="module")
def world(stack: Stack, tenants: Tenants) -> World:
    tenants.operator.post("/api/organizations/create", json={"organization_id": "org_taken", "name": "Taken"})
    tenants.group("ok", name="TakenGroup")
    tenants.group("ok", name="ForeignGroup")
    team = tenants.team([tenants.group("ok"), down := tenants.group("status-429")], team_id="team_table")
    done, failing = team.open_job(), team.open_job()
    team.complete(done)
    team.call(failing, model_group=down)
    (call,) = team.api.get(f"/api/jobs/{failing}").json()["calls"]
    return World(
        tenants=tenants,
        team=team,
        other=tenants.team([], credits_allocated=0, team_id="team_other"),
        anonymous=stack.client(),
        open_job=team.open_job(),
        done_job=done,
        failed_call=(failing, call["call_id"]),
    )


Row = tuple[str, Callable[[World], httpx.Response], int, str, str]
ROWS: list[Row] = [
    # 400: invalid JSON, field, id, period, limit, status
    ("invalid JSON", lambda w: w.team.api.post("/api/jobs/create", content=b"{"), 400, "invalid_request", "Invalid JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
    ("missing field", lambda w: w.team.api.post("/api/jobs/create", json={"team_id": "team_table"}), 400, "invalid_request", "job_type: This field is required."),
    ("wrong type", lambda w: w.operator.post("/api/credits/teams/team_table/add", json={"credits_amount": "5"}), 400, "invalid_request", "credits_amount: A valid integer is required."),
    ("invalid id", lambda w: w.operator.get("/api/teams/a%20b"), 400, "invalid_request", "team_id: must be 1 to 128 characters out of letters, digits and _ . : -"),
    ("invalid job id", lambda w: w.team.api.get("/api/jobs/7"), 400, "invalid_request", "job_id: must be a UUID"),
    ("invalid period", lambda w: w.team.api.get("/api/teams/team_table/usage?period=2025-1"), 400, "invalid_request", "period: must be YYYY-MM or YYYY-MM-DD"),
    ("invalid limit", lambda w: w.team.api.get("/api/teams/team_table/jobs?limit=1001"), 400, "invalid_request", "limit: must be a whole number from 1 to 1000"),
    ("invalid status filter", lambda w: w.team.api.get("/api/teams/team_table/jobs?status=done"), 400, "invalid_request", "status: must be one of pending, in_progress, completed, failed"),
    ("invalid final status", lambda w: w.team.complete(w.open_job, "done"), 400, "invalid_request", 'status: "done" is not a valid choice.'),
    ("unpriced model", lambda w: w.operator.post("/api/model-groups/create", json={"group_name": "G", "models": [{"model_name": "nobody-knows"}]}), 400, "model_price_unknown", "Model 'nobody-knows' has no known price: give input_cost_per_token and output_cost_per_token in its config (0 marks it free)"),
    ("unknown parameter", lambda w: w.operator.post("/api/model-groups/create", json={"group_name": "G", "models": [{"model_name": "gpt-4o", "config": {"proxy": "x"}}]}), 400, "invalid_request", "models.0.config.proxy: unknown parameter 'proxy'"),
    # 400: duplicates
    ("duplicate organization", lambda w: w.operator.post("/api/organizations/create", json={"organization_id": "org_taken", "name": "x"}), 400, "organization_exists", "Organization with ID 'org_taken' already exists"),
    ("duplicate team", lambda w: w.operator.post("/api/teams/create", json={"organization_id": "org_taken", "team_id": "team_table"}), 400, "team_exists", "Team 'team_table' already exists"),
    ("duplicate group", lambda w: w.operator.post("/api/model-groups/create", json={"group_name": "TakenGroup", "models": [{"model_name": "gpt-4o"}]}), 400, "model_group_exists", "Model group 'TakenGroup' already exists"),
    # 401
    ("no header", lambda w: w.anonymous.post("/api/jobs/create", json={}), 401, "missing_credentials", "Missing Authorization header. Expected: 'Authorization: Bearer sk-xxx...'"),
    ("no header on a call", lambda w: w.anonymous.post(f"/api/jobs/{w.open_job}/llm-call", json={}), 401, "missing_credentials", "Missing Authorization header. Expected: 'Authorization: Bearer sk-xxx...'"),
    ("unknown key", lambda w: w.anonymous.get("/api/teams/team_table", headers={"Authorization": "Bearer sk-unknown"}), 401, "invalid_api_key", "Invalid API key"),
    ("malformed header", lambda w: w.anonymous.get("/api/teams/team_table", headers={"Authorization": "sk-unknown"}), 401, "invalid_api_key", "Invalid API key"),
    ("a team's key as an operator's", lambda w: w.anonymous.get("/api/teams/team_table", headers={"X-Admin-Key": w.team.key}), 401, "invalid_api_key", "Invalid API key"),
    # 403
    ("another team", lambda w: w.team.api.get("/api/credits/teams/team_other/balance"), 403, "wrong_team", "API key does not belong to team 'team_other'"),
    ("another team that is not there", lambda w: w.team.api.get("/api/credits/teams/team_none/balance"), 403, "wrong_team", "API key does not belong to team 'team_none'"),
    ("adding credits with a team's key", lambda w: w.team.api.post("/api/credits/teams/team_table/add", json={"credits_amount": 1}), 403, "operator_required", "This call needs an operator key"),
    ("group not assigned", lambda w: w.call(w.open_job, model_group="ForeignGroup"), 403, "model_group_access_denied", "Team 'team_table' does not have access to model group 'ForeignGroup'"),
    ("group that is not there", lambda w: w.call(w.open_job, model_group="ChatAgent"), 403, "model_group_access_denied", "Team 'team_table' does not have access to model group 'ChatAgent'"),
    # 404
    ("unknown organization", lambda w: w.operator.get("/api/organizations/org_none"), 404, "not_found", "Organization 'org_none' not found"),
    ("unknown team", lambda w: w.operator.get("/api/teams/team_none"), 404, "not_found", "Team 'team_none' not found"),
    ("unknown group", lambda w: w.operator.get("/api/model-groups/NoGroup"), 404, "not_found", "Model group 'NoGroup' not found"),
    ("unknown job", lambda w: w.team.api.get(f"/api/jobs/{NOBODY}"), 404, "not_found", "Job not found"),
    ("another team's job", lambda w: w.other.api.get(f"/api/jobs/{w.open_job}"), 404, "not_found", "Job not found"),
    ("a call in another team's job", lambda w: w.other.call(w.open_job, model_group="X"), 404, "not_found", "Job not found"),
    ("completing another team's job", lambda w: w.other.complete(w.open_job), 404, "not_found", "Job not found"),
    ("unknown path", lambda w: w.operator.get("/api/nothing"), 404, "not_found", "Not found"),
    # 402
    ("no credits", lambda w: w.other.api.post("/api/jobs/create", json={"team_id": "team_other", "job_type": "x"}), 402, "insufficient_credits", "Insufficient credits. Required: 1, Available: 0"),
    # 405, 409
    ("wrong method", lambda w: w.operator.delete("/api/organizations/org_taken"), 405, "method_not_allowed", 'Method "DELETE" not allowed.'),
    ("call after the end", lambda w: w.call(w.done_job), 409, "job_already_ended", "Job is already completed; no further call can be made in it"),
    ("failed after completed", lambda w: w.team.complete(w.done_job, "failed"), 409, "job_already_ended", "Job is already completed; it cannot become failed"),
    ("group in use", lambda w: w.operator.delete(f"/api/model-groups/{w.team.group}"), 409, "model_group_in_use", "is assigned to 1 team(s); unassign it first"),
    ("retry of what is not there", lambda w: w.call(w.open_job, retry_of=NOBODY), 404, "not_found", f"Call '{NOBODY}' not found in this job"),
    ("retry of another job's call", lambda w: w.call(w.open_job, retry_of=w.failed_call[1]), 404, "not_found", "not found in this job"),
    # 413, 500
    ("body too large", lambda w: w.operator.post("/api/organizations/create", content=b" " * 1_048_577), 413, "payload_too_large", "Request body is larger than 1048576 bytes"),
    ("call too large", lambda w: w.team.api.post(f"/api/jobs/{w.open_job}/llm-call", content=b" " * 10_485_761), 413, "payload_too_large", "Request body is larger than 10485760 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("_name", "request_", "status", "code", "detail"), ROWS, ids=[row[0] for row in ROWS])
def test_each_refusal_has_its_status_code_and_text(
    world: World, _name: str, request_: Callable[[World], httpx.Response], status: int, code: str, detail: str
) -> None:
    answer = request_(world)

    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert body["detail"].endswith(detail)
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert ("errors" in body) == (code == "invalid_request" and not detail.startswith("Invalid JSON"))
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


def test_a_failed_call_says_the_guides_words(world: World) -> None:
    job, call_id = world.failed_call
    (call,) = world.team.api.get(f"/api/jobs/{job}").json()["calls"]

    assert (call["call_id"], call["error"]) == (call_id, "LLM call failed: Rate limit exceeded")


def test_refused_calls_leave_no_record(world: World) -> None:
    assert world.team.api.get(f"/api/jobs/{world.open_job}").json()["calls"] == []


def test_a_foreign_job_and_a_missing_one_are_answered_alike(world: World) -> None:
    foreign, missing = (
        world.other.api.get(f"/api/jobs/{job}", headers={"X-Request-Id": "same"}) for job in (world.open_job, NOBODY)
    )

    assert foreign.content == missing.content


def test_a_call_in_progress_keeps_its_job_from_completing(
    tenants: Tenants, provider: FakeProvider, clients_in_background: Callable[..., object]
) -> None:
    name = f"held/{uuid.uuid4().hex[:8]}"
    team = tenants.team([tenants.group(name)])
    job = team.open_job()
    finish = clients_in_background(team.call, job)
    provider.wait_for(name)

    refused = team.complete(job)

    provider.release(name)
    assert (refused.status_code, refused.json()["code"]) == (409, "call_in_progress")
    assert refused.json()["detail"] == "Job is in_progress: 1 call(s) still running"
    assert finish().status_code == 200  # type: ignore[operator]
    assert team.complete(job).json()["costs"]["credit_applied"] is True


def test_the_status_for_missing_credits_can_be_the_guides(make_stack: MakeStack, provider: FakeProvider) -> None:
    with make_stack("web", INSUFFICIENT_CREDITS_STATUS="500") as stack:
        team = Tenants.on(stack, provider).team([], credits_allocated=0)

        answer = team.api.post("/api/jobs/create", json={"team_id": team.team_id, "job_type": "x"})

    assert answer.status_code == 500
    assert answer.json()["detail"] == "Insufficient credits. Required: 1, Available: 0"
