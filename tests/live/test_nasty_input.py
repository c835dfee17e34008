"""What no client should send is a 4xx with a text, on every path, never a 500 (contract, "Sizes" and "Status codes")."""

import socket
import uuid
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.live import LiveTeam, Tenants
from tests.support.stack import Stack

JOB = "00000000-0000-4000-8000-000000000000"
POSTS = [
    "/api/organizations/create",
    "/api/model-groups/create",
    "/api/teams/create",
    "/api/teams/team_nasty/keys",
    f"/api/teams/team_nasty/keys/{JOB}/rotate",
    "/api/credits/teams/team_nasty/add",
    "/api/credits/teams/team_nasty/check",
    "/api/jobs/create",
    f"/api/jobs/{JOB}/llm-call",
    f"/api/jobs/{JOB}/complete",
    "/api/webhooks",
    f"/api/webhooks/{JOB}/rotate",
    f"/api/webhooks/{JOB}/replay",
]
PUTS = ["/api/teams/team_nasty/model-groups", "/api/model-groups/NastyGroup/models"]

#: Bodies that no endpoint may take, whatever it is about.
REFUSED_BODIES = {
    "not JSON": b"{",
    "two values": b"{} {}",
    "NaN": b'{"metadata": {"a": NaN}}',
    "Infinity": b'{"metadata": {"a": -Infinity}}',
    "a number out of range": b'{"metadata": {"a": 1e999}}',
    "5,000 digits": b'{"metadata": {"a": ' + b"9" * 5000 + b"}}",
    "invalid UTF-8": b'{"metadata": {"a": "\xff\xfe"}}',
    "overlong UTF-8": b'{"a": "\xc0\x80"}',
    "NUL": b'{"metadata": {"a": "\\u0000"}}',
    "NUL in a name": b'{"metadata": {"\\u0000": 1}}',
    "a raw control character": b'{"a": "\x00"}',
    "a lone surrogate": b'{"metadata": {"a": "\\ud800"}}',
    "a lone surrogate in a name": b'{"\\udfff": 1}',
    "33 levels": b"[" * 33 + b"]" * 33,
    "100,000 levels": b"[" * 100_000,
    "100,000 objects deep": b'{"a":' * 100_000,
    "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "a number": b"7",
    "a text": b'"x"',
    "null": b"null",
}
#: Values that are wrong wherever a field wants something of its own.
WRONG_VALUES: list[Any] = [
    None,
    True,
    -1,
    0.5,
    10**30,
    "",
    "x" * 100_000,
    "a b",
    "\u202e",
    [],
    [[]],
    {},
    {"a": {}},
    [None],
    [{}],
]
FIELDS: dict[str, dict[str, Any]] = {
    "/api/organizations/create": {"organization_id": "org_nasty_new", "name": "n", "metadata": {}},
    "/api/model-groups/create": {"group_name": "N", "display_name": "d", "description": "", "models": [{"model_name": "gpt-4o", "priority": 0, "config": {"timeout": 1}}], "metadata": {}},
    "/api/teams/create": {"organization_id": "org_none", "team_id": "t", "team_alias": "a", "model_groups": [], "credits_allocated": 1, "metadata": {}},
    "/api/credits/teams/team_nasty/add": {"credits_amount": 1, "reason": "r", "metadata": {}},
    "/api/credits/teams/team_nasty/check": {"credits_required": 1},
    "/api/jobs/create": {"team_id": "team_nasty", "user_id": "u", "job_type": "t", "metadata": {}},
    f"/api/jobs/{JOB}/llm-call": {"model_group": "G", "messages": [{"role": "user", "content": "x"}], "purpose": "p", "temperature": 0.5, "max_tokens": 5, "retry_of": JOB},
    f"/api/jobs/{JOB}/complete": {"status": "completed", "metadata": {}, "error_message": "e"},
    "/api/webhooks": {"team_id": "team_nasty", "url": "https://8.8.8.8/", "event_types": ["job.failed"], "description": "d"},
    f"/api/webhooks/{JOB}/replay": {"event_id": JOB, "failed_since": "2025-01-01T00:00:00Z"},
}  # fmt: skip
PATHS = [
    "/api/organizations/{}", "/api/organizations/{}/teams", "/api/organizations/{}/usage", "/api/model-groups/{}",
    "/api/model-groups/{}/models", "/api/model-groups/{}/resolve?team_id=team_nasty", "/api/teams/{}",
    "/api/teams/{}/usage", "/api/teams/{}/jobs", "/api/teams/{}/keys", "/api/credits/teams/{}/balance",
    "/api/credits/teams/{}/transactions", "/api/jobs/{}", "/api/model-groups/NastyGroup/resolve?team_id={}",
]  # fmt: skip
IDS = [
    "%00",
    "a%00b",
    "%ff",
    "%ed%a0%80",
    "%20",
    "a%20b",
    "a%0Ab",
    "%F0%9F%92%A9",
    "x" * 129,
    "'",
    '"',
    "%25",
    "..%2f",
    "*",
]
PAGED = ["/api/organizations/org_nasty/teams", "/api/teams/team_nasty/jobs", "/api/credits/teams/team_nasty/transactions", "/api/model-groups"]  # fmt: skip
NUMBERS = [
    "",
    "-1",
    "1.0",
    "1e3",
    "0x1",
    " 1",
    "1 ",
    "+1",
    "one",
    "NaN",
    "٣",
    "１",
    "²",
    "1_000",
    "9" * 30,
    "%00",
    "%ff",
]
PERIODS = ["", "2025", "2025-1", "2025-00", "2025-13", "2025-02-30", "2025-10-", "0000-01", "9999-12", "9999-12-31", "25-10", "2025/10", "２０２５-10", "2025-10-01T00:00", "%00", "-2025-10"]  # fmt: skip


@pytest.fixture(scope="module")
def team(tenants: Tenants) -> LiveTeam:
    tenants.operator.post("/api/organizations/create", json={"organization_id": "org_nasty", "name": "Nasty"})
    group = tenants.group("ok", name="NastyGroup")
    return tenants.team([group], team_id="team_nasty")


@pytest.fixture(scope="module")
def operator(tenants: Tenants, team: LiveTeam) -> httpx.Client:
    return tenants.operator


def assert_refused(answer: httpx.Response) -> None:
    assert 400 <= answer.status_code < 500, answer.text
    assert isinstance(answer.json()["detail"], str)
    assert answer.json()["detail"]


@pytest.mark.parametrize("body", REFUSED_BODIES.values(), ids=REFUSED_BODIES)
def test_a_body_that_cannot_be_meant_is_refused(operator: httpx.Client, body: bytes) -> None:
    for method, paths in {"POST": POSTS, "PUT": PUTS}.items():
        for path in paths:
            assert_refused(operator.request(method, path, content=body))


@pytest.mark.parametrize("path", FIELDS)
def test_no_value_of_any_field_is_a_server_error(operator: httpx.Client, path: str) -> None:
    for name in FIELDS[path]:
        for value in WRONG_VALUES:
            answer = operator.post(path, json={**FIELDS[path], name: value})
            assert answer.status_code < 500, f"{name}={value!r}: {answer.text}"
            if answer.status_code != 200:
                assert_refused(answer)


def test_wrong_messages_are_refused_with_their_place(operator: httpx.Client) -> None:
    path = f"/api/jobs/{JOB}/llm-call"
    for message in ("x", {}, {"role": "boss", "content": "x"}, {"role": "user"}, {"role": "user", "content": [7]}):
        answer = operator.post(path, json={"model_group": "G", "messages": [{"role": "user", "content": "x"}, message]})
        assert_refused(answer)
        assert answer.json()["errors"][0]["field"].startswith("messages.1")


@pytest.mark.parametrize("path", PATHS)
def test_a_malformed_id_is_refused(operator: httpx.Client, path: str) -> None:
    for malformed in IDS:
        assert_refused(operator.get(path.format(malformed)))


@pytest.mark.parametrize("path", PAGED)
def test_a_malformed_limit_or_offset_is_refused(operator: httpx.Client, path: str) -> None:
    for number in [*NUMBERS, "0", "1001"]:
        assert_refused(operator.get(f"{path}?limit={number}"))
    for number in NUMBERS:
        assert_refused(operator.get(f"{path}?offset={number}"))
    assert operator.get(f"{path}?offset={2**63 - 1}").status_code == 200


@pytest.mark.parametrize("path", ["/api/teams/team_nasty/usage", "/api/organizations/org_nasty/usage"])
def test_a_malformed_period_is_refused(operator: httpx.Client, path: str) -> None:
    for period in PERIODS:
        assert_refused(operator.get(f"{path}?period={period}"))


@pytest.mark.parametrize("key", ["x" * 256, "ü", "a\tb", ""])
def test_a_malformed_idempotency_key_is_refused(operator: httpx.Client, key: str) -> None:
    answer = operator.post(
        "/api/organizations/create",
        json={"organization_id": f"org_{uuid.uuid4().hex}", "name": "n"},
        headers=[(b"Idempotency-Key", key.encode())],
    )
    assert_refused(answer)


def test_unknown_fields_are_ignored(team: LiveTeam) -> None:
    body = {"team_id": "team_nasty", "job_type": "t", "status": "completed", "id": JOB, "team": 7, "credits": -5}
    answer = team.api.post("/api/jobs/create", json=body)

    assert (answer.status_code, answer.json()["status"]) == (200, "pending")
    assert answer.json()["job_id"] != JOB


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/xml", "multipart/form-data; boundary=x", "no"])
def test_the_content_type_does_not_matter(team: LiveTeam, content_type: str) -> None:
    answer = team.api.post(
        "/api/jobs/create",
        content=b'{"team_id": "team_nasty", "job_type": "t"}',
        headers={"Content-Type": content_type},
    )
    assert answer.status_code == 200, answer.text


def test_a_chunked_body_is_read(team: LiveTeam) -> None:
    answer = team.api.post("/api/jobs/create", content=iter([b'{"team_id": "team_na', b'sty", "job_type": "t"}']))

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "request_line",
    [b"GET /api/teams/\xff HTTP/1.1", b"GET /api/teams/%zz HTTP/1.1", b"GET //api/jobs HTTP/1.1", b"NONSENSE /api/jobs HTTP/1.1", b"GET /api/../admin HTTP/1.1"],
)  # fmt: skip
def test_a_malformed_request_line_is_no_server_error(stack: Stack, request_line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(stack.url()).port or 0), timeout=10) as connection:
        connection.sendall(request_line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        status = int(connection.recv(64).split(b" ")[1])
    assert 400 <= status < 500 or status == 302


def test_a_host_that_is_not_ours_is_refused(stack: Stack) -> None:
    assert_refused(stack.client().get("/api/teams/team_nasty", headers={"Host": "evil.example"}))
