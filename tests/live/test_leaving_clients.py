"""Clients that hang up at any moment of a call, also between its admission and its dispatch."""

import json
import socket
import time

from tests.support.live import MESSAGES, LiveTeam, Tenants
from tests.support.stack import Stack, eventually

LEAVERS = 120
#: An admission takes a few milliseconds; they leave at steps of it.
PATIENCE_S = tuple(step / 1000 for step in range(12))


def call_and_leave(port: int, team: LiveTeam, job: str, *, headers: dict[str, str], after_s: float) -> None:
    body = json.dumps({"model_group": team.group, "messages": MESSAGES}).encode()
    head = {"Host": "127.0.0.1", "Authorization": f"Bearer {team.key}", "Content-Length": str(len(body)), **headers}
    lines = [f"POST /api/jobs/{job}/llm-call HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        time.sleep(after_s)


def test_a_call_that_was_written_down_runs_whoever_leaves(stack: Stack, tenants: Tenants) -> None:
    team = tenants.team([tenants.group("ok")])
    job = team.open_job()
    port = stack.children["web"].port or 0

    for number in range(LEAVERS):
        # Every other one with a key, which must not stay claimed either.
        headers = {"Idempotency-Key": f"{job}-{number}"} if number % 2 else {}
        call_and_leave(port, team, job, headers=headers, after_s=PATIENCE_S[number % len(PATIENCE_S)])

    def is_over() -> bool:
        open_calls = stack.query("SELECT 1 FROM jobs_call WHERE job_id = %s AND ended_at IS NULL", job)
        open_keys = stack.query(
            "SELECT 1 FROM tenancy_idempotencyrecord WHERE key LIKE %s AND reply IS NULL", f"{job}-%"
        )
        return not open_calls and not open_keys

    eventually(is_over, "no call and no key is left open", within_s=10, log=stack.log("worker"))
    states = stack.query("SELECT DISTINCT state FROM jobs_call WHERE job_id = %s", job)
    assert [row["state"] for row in states] == ["succeeded"]
    assert team.complete(job).json()["costs"]["credit_applied"] is True
