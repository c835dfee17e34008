"""A call that is refused before anything was dispatched leaves no record, and says why."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs.models import Call, Job
from modelgroups.models import ModelGroup
from tenancy.models import IdempotencyRecord, Organization, Team
from tests.support.api import ApiClient, Tenant, make_group, make_operator, make_tenant
from tests.support.coroutines import llm_call

pytestmark = pytest.mark.django_db(transaction=True)
MESSAGES = [{"role": "user", "content": "Hello"}]
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def team(transactional_db: None) -> Tenant:
    return make_tenant()


@pytest.fixture
def job(team: Tenant) -> str:
    return open_job(team)


def open_job(team: Tenant) -> str:
    body = {"team_id": team.team_id, "job_type": "x"}
    return str(team.api.post("/api/jobs/create", body).json()["job_id"])


def call(team: Tenant, job: str, *, key: str | None = None, **fields: Any) -> Any:
    return llm_call(key or team.key, job, {"model_group": team.group_name, "messages": MESSAGES, **fields})


def assert_refused(answer: Any, status: int, code: str, detail: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["code"], body["detail"]) == (status, code, detail)
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert not Call.objects.filter(state="queued").exists()
    assert not IdempotencyRecord.objects.exists()


def failed_call(job: str, **fields: Any) -> Call:
    ended: dict[str, Any] = {"state": "failed", "cause": "timeout", "ended_at": timezone.now()}
    team = Job.objects.get(pk=job).team
    return Call.objects.create(
        job_id=job, team=team, model_group="G", deadline_at=timezone.now(), **{**ended, **fields}
    )


@pytest.mark.parametrize("group", ["Foreign", "NoGroup"])
def test_a_group_of_others_is_denied_as_one_that_does_not_exist(team: Tenant, job: str, group: str) -> None:
    make_group("Foreign")
    denied = f"Team 'team_a' does not have access to model group '{group}'"
    assert_refused(call(team, job, model_group=group), 403, "model_group_access_denied", denied)
    assert Job.objects.get().status == "pending"


def test_an_inactive_group_and_one_taken_away_are_denied(team: Tenant, job: str) -> None:
    denied = "Team 'team_a' does not have access to model group 'Group-a'"
    ModelGroup.objects.update(status="inactive")
    assert_refused(call(team, job), 403, "model_group_access_denied", denied)

    ModelGroup.objects.update(status="active")
    make_operator().put(f"/api/teams/{team.team_id}/model-groups", [])
    assert_refused(call(team, job), 403, "model_group_access_denied", denied)


def test_another_teams_job_is_answered_as_one_that_does_not_exist(team: Tenant, job: str) -> None:
    other = make_tenant("b")
    same = {"X-Request-Id": "same"}
    foreign, missing = (
        llm_call(other.key, which, {"model_group": "Group-b", "messages": MESSAGES}, headers=same)
        for which in (job, NOBODY)
    )
    assert_refused(foreign, 404, "not_found", "Job not found")
    assert foreign.content == missing.content
    assert Job.objects.get().status == "pending"


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_nothing_is_called_after_the_end(team: Tenant, job: str, status: str) -> None:
    team.api.post(f"/api/jobs/{job}/complete", {"status": status})
    detail = f"Job is already {status}; no further call can be made in it"
    assert_refused(call(team, job), 409, "job_already_ended", detail)


def test_what_is_retried_is_a_failed_call_of_this_job_that_was_not_retried(team: Tenant, job: str) -> None:
    elsewhere = failed_call(open_job(team))
    for unknown in (NOBODY, str(elsewhere.id)):
        detail = f"Call '{unknown}' not found in this job"
        assert_refused(call(team, job, retry_of=unknown), 404, "not_found", detail)

    succeeded = failed_call(job, state="succeeded", cause="")
    detail = "retry_of: this call has not failed, it is succeeded"
    assert_refused(call(team, job, retry_of=str(succeeded.id)), 409, "not_retryable", detail)

    retried = failed_call(job)
    failed_call(job, retry_of=retried)
    detail = "retry_of: this call has been retried already"
    assert_refused(call(team, job, retry_of=str(retried.id)), 409, "not_retryable", detail)
    assert Call.objects.count() == 4


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [*MESSAGES, {"role": "boss", "content": "x"}]}, "messages.1.role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": []}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content"),
        ({"model_group": None}, "model_group"),
        ({"model_group": "a b"}, "model_group"),
        ({"purpose": 7}, "purpose"),
        ({"purpose": "x" * 257}, "purpose"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "0.5"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.0}, "max_tokens"),
        ({"max_tokens": 10**400}, "max_tokens"),
        ({"retry_of": "x"}, "retry_of"),
        ({"retry_of": 7.5}, "retry_of"),
        ({"retry_of": []}, "retry_of"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_wrong_field_is_named(team: Tenant, job: str, fields: dict[str, Any], field: str) -> None:
    answer = call(team, job, **fields)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert answer.json()["errors"][0]["field"] == field
    assert answer.json()["detail"].startswith(f"{field}: ")
    assert not Call.objects.exists()
    assert Job.objects.get().status == "pending"


@pytest.mark.parametrize("body", [b"", b"7", b"null", b"[]", b"{", b'{"messages": NaN}', b"\xff", b'{"a": "\\u0000"}'])
def test_a_body_that_is_no_call_is_refused(team: Tenant, job: str, body: bytes) -> None:
    answer = llm_call(team.key, job, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert not Call.objects.exists()


def test_a_body_of_more_than_ten_megabytes_is_refused(team: Tenant, job: str, settings: Any) -> None:
    settings.MAX_CALL_BODY_BYTES = 1000
    detail = "Request body is larger than 1000 bytes"
    assert_refused(call(team, job, purpose="x" * 1000), 413, "payload_too_large", detail)


@pytest.mark.parametrize("malformed", ["7", "x", NOBODY.replace("-", ""), f"{{{NOBODY}}}", "%00", NOBODY + "0"])
def test_a_malformed_job_id_is_refused(team: Tenant, malformed: str) -> None:
    assert_refused(call(team, malformed), 400, "invalid_request", "job_id: must be a UUID")


@pytest.mark.parametrize("model", [Team, Organization])
def test_a_suspended_teams_calls_are_refused_to_operators_too(team: Tenant, job: str, model: Any) -> None:
    operator = make_operator()
    model.objects.update(status="suspended")
    for key in (team.key, operator.key):
        assert_refused(call(team, job, key=key), 403, "team_suspended", "Team 'team_a' is suspended")


def test_who_has_no_valid_key_or_scope_is_refused(team: Tenant, job: str, settings: Any) -> None:
    body = {"model_group": team.group_name, "messages": MESSAGES}
    reader = make_operator("reader", scopes=["read"])
    missing = "Missing Authorization header. Expected: 'Authorization: Bearer sk-xxx...'"
    for settings.AUTH_MODE in ("strict", "open"):
        assert_refused(llm_call(None, job, body), 401, "missing_credentials", missing)
        assert_refused(llm_call("sk-unknown", job, body), 401, "invalid_api_key", "Invalid API key")
    scope = "This operator key lacks the scope 'jobs'"
    assert_refused(llm_call(reader.key, job, body), 403, "insufficient_scope", scope)


def test_an_operators_call_needs_the_jobs_teams_group(team: Tenant, job: str) -> None:
    operator = make_operator()
    make_tenant("b")
    answer = call(team, job, key=operator.key, model_group="Group-b")
    denied = "Team 'team_a' does not have access to model group 'Group-b'"
    assert_refused(answer, 403, "model_group_access_denied", denied)
    assert_refused(call(team, NOBODY, key=operator.key), 404, "not_found", "Job not found")


def test_a_refused_call_gives_its_idempotency_key_back(team: Tenant, job: str) -> None:
    body = {"model_group": "NoGroup", "messages": MESSAGES}
    answer = llm_call(team.key, job, body, headers={"Idempotency-Key": "key-1"})
    assert (answer.status_code, IdempotencyRecord.objects.count()) == (403, 0)
    malformed = llm_call(team.key, job, body, headers={"Idempotency-Key": "x" * 256})
    assert malformed.json()["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_a_call_is_a_post(team: Tenant, job: str, method: str) -> None:
    client: ApiClient = team.api
    answer = getattr(client, method)(f"/api/jobs/{job}/llm-call")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_a_job_with_a_call_of_long_ago_takes_further_ones_until_it_ends(team: Tenant, job: str) -> None:
    failed_call(job, created_at=timezone.now() - timedelta(days=2))
    Job.objects.update(status="in_progress", expires_at=timezone.now() - timedelta(days=1))
    denied = "Team 'team_a' does not have access to model group 'NoGroup'"
    assert_refused(call(team, job, model_group="NoGroup"), 403, "model_group_access_denied", denied)
