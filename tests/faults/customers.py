"""Customers at work: apps that make jobs in every form, and repeat what got no answer, as the guide tells them to."""

import itertools
import json
import time
import uuid
from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import httpx

from tests.support.live import MESSAGES, LiveTeam

#: A call may meet several deaths here, and on a busy machine a worker takes twenty seconds to start after each.
PATIENCE_S = 120
PAUSE_S = 0.05
#: What says "again, please": the same request under the same key.
RETRYABLE = {503, 502, 504}
IN_FLIGHT = {"idempotency_key_in_flight", "call_in_progress"}
#: What says "look at the job's calls": the call was interrupted, or it was another try of this request that was.
LOOK_AGAIN = {"call_interrupted", "not_retryable"}
UNSUCCESSFUL = {"failed", "interrupted", "cancelled"}


class Impatient(Exception):
    """No usable answer in time: what the tests must never see."""


class Failed(Exception):
    """A clean refusal of a call that did not succeed; another call may."""


class Customer(Thread):
    """One app. `problems` is what it would write to support about; `charged` the jobs it believes it paid for."""

    def __init__(self, team: LiveTeam, *, first: int) -> None:
        super().__init__(daemon=True)
        self.team = team
        self.charged: set[str] = set()
        self.problems: list[str] = []
        self.jobs_done = 0
        self._enough = Event()
        forms = [self._answer, self._stream, self._stored, self._job_of_one_call, self._stored_job_of_one_call]
        self._forms = itertools.islice(itertools.cycle(forms), first, None)

    def run(self) -> None:
        for form in self._forms:
            if self._enough.is_set():
                return
            try:
                form()
                self.jobs_done += 1
            except Impatient as error:
                self.problems.append(f"{form.__name__}: {error}")

    def leave(self) -> None:
        """Go home after the job in hand."""
        self._enough.set()

    # The forms

    def _answer(self) -> None:
        job = self._open()
        self._until_success(job, lambda fields, key: self._send("POST", f"/api/jobs/{job}/llm-call", fields, key))
        self._complete(job)

    def _stream(self) -> None:
        job = self._open()
        self._until_success(job, lambda fields, key: self._hear(f"/api/jobs/{job}/llm-call", fields, key))
        self._complete(job)

    def _stored(self) -> None:
        job = self._open()
        self._until_success(job, lambda fields, key: self._fetch(f"/api/jobs/{job}/llm-call", fields, key))
        self._complete(job)

    def _job_of_one_call(self) -> None:
        key, fields = uuid.uuid4().hex, {"team_id": self.team.team_id, "job_type": "faults"}
        while True:
            try:
                answer = self._send("POST", "/api/jobs/create-and-call", fields, key)
            except Failed:
                key = uuid.uuid4().hex
                continue
            return self._job_ended(answer["job_id"], must_be="completed")

    def _stored_job_of_one_call(self) -> None:
        fields = {"team_id": self.team.team_id, "job_type": "faults", "async": True}
        accepted = self._send("POST", "/api/jobs/create-and-call", fields, uuid.uuid4().hex)
        # It may fail: when its worker dies. Then it costs nothing.
        self._job_ended(accepted["job_id"])

    # Their parts

    def _open(self) -> str:
        fields = {"team_id": self.team.team_id, "job_type": "faults"}
        return str(self._send("POST", "/api/jobs/create", fields, uuid.uuid4().hex)["job_id"])

    def _complete(self, job: str) -> None:
        costs = self._send("POST", f"/api/jobs/{job}/complete", {"status": "completed"}, None)["costs"]
        if not costs["credit_applied"]:
            self.problems.append(f"job {job} was not charged: {costs}")
        self.charged.add(job)

    def _job_ended(self, job: str, must_be: str | None = None) -> None:
        until = time.monotonic() + PATIENCE_S
        while (ended := self._send("GET", f"/api/jobs/{job}"))["status"] in ("pending", "in_progress"):
            self._wait(until, f"job {job} does not end")
        if must_be and ended["status"] != must_be:
            self.problems.append(f"job {job} is {ended['status']}, not {must_be}")
        if ended["status"] == "completed":
            self.charged.add(job)

    def _until_success(self, job: str, call: Any) -> None:
        """Call until it succeeds and no unsuccessful call of the job is left without its retry."""
        has_succeeded, until = False, time.monotonic() + 2 * PATIENCE_S
        while True:
            left = self._left_to_retry(job)
            if has_succeeded and left is None:
                return
            try:
                call({"retry_of": left} if left else {}, uuid.uuid4().hex)
                has_succeeded = True
            except Failed:
                self._wait(until, f"no call of job {job} succeeds")

    def _left_to_retry(self, job: str) -> str | None:
        calls = self._send("GET", f"/api/jobs/{job}/calls")["calls"]
        retried = {call["retry_of"] for call in calls}
        left = (call["call_id"] for call in calls if call["state"] in UNSUCCESSFUL)
        return next((call_id for call_id in left if call_id not in retried), None)

    def _fetch(self, path: str, fields: dict[str, Any], key: str) -> None:
        accepted = self._send("POST", path, fields | {"async": True}, key)
        until = time.monotonic() + PATIENCE_S
        while True:
            call = self._send("GET", f"/api/jobs/{accepted['job_id']}/calls/{accepted['call_id']}")
            if call["state"] == "succeeded":
                return
            if call["state"] in UNSUCCESSFUL:
                raise Failed
            self._wait(until, f"call {accepted['call_id']} does not end: {call}")

    def _hear(self, path: str, fields: dict[str, Any], key: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                if self._has_heard_all(path, fields, key):
                    return
            except httpx.TransportError:
                pass
            self._wait(until, "no stream comes to its end")

    def _has_heard_all(self, path: str, fields: dict[str, Any], key: str) -> bool:
        """Whether it came to its end; if not, it may be tried again. Raises Failed, httpx.TransportError."""
        body = {"model_group": self.team.group, "messages": MESSAGES, "stream": True, **fields}
        with self.team.api.stream("POST", path, json=body, headers={"Idempotency-Key": key}) as response:
            if response.status_code != 200:
                response.read()
                self._usable(response)
                return False
            *_, (name, data) = _events(response)
        if name == "error" and data["error"]["code"] != "answer_lost":
            raise Failed
        return bool(name == "done")

    def _send(self, method: str, path: str, fields: Any = None, key: str | None = None) -> Any:
        """The answer's JSON, however often it takes to get one. Raises Failed, Impatient."""
        is_call = fields is not None and path.endswith("-call")
        body = {"model_group": self.team.group, "messages": MESSAGES, **fields} if is_call else fields
        headers = {"Idempotency-Key": key} if key else {}
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                response = self.team.api.request(method, path, json=body, headers=headers)
                if (answer := self._usable(response)) is not None:
                    return answer
                what = response.text
            except httpx.TransportError as error:
                what = repr(error)
            self._wait(until, f"{method} {path}: {what}")

    def _usable(self, response: httpx.Response) -> Any:
        """None where the same request should be sent again. Raises Failed, Impatient."""
        if response.status_code in (200, 202):
            return response.json()
        code = response.json().get("code")
        if code in LOOK_AGAIN:
            raise Failed
        if response.status_code in RETRYABLE or code in IN_FLIGHT:
            return None
        raise Impatient(f"{response.request.method} {response.request.url.path}: {response.text}")

    def _wait(self, until: float, what: str) -> None:
        if time.monotonic() > until:
            raise Impatient(what)
        time.sleep(PAUSE_S)


def _events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    name = "message"
    for line in response.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)
            name = "message"
