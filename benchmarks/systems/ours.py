"""This service, as the Procfile runs it in production: `llm-call` in open jobs, and `/v1` without jobs."""

import base64
import secrets
import time

from benchmarks.load import Plan, Target
from benchmarks.procfs import Roots
from benchmarks.systems.base import MESSAGES, Bench, System, chat_body, expected
from benchmarks.systems.databases import Database
from tests.support.live import LiveTeam, Tenants
from tests.support.stack import Stack, running_stack

#: More than are ever spent here.
CREDITS = 1_000_000_000
#: As many as the most clients, so that no two of them share a job.
OPEN_JOBS = 1000


class Ours(System):
    """Ledger, jobs and durable records on."""

    name = "ours"
    title = "this service: virtual key, job, call and attempt on record, credit held"

    def __init__(self, bench: Bench, *, webs: int = 1, workers: int = 1) -> None:
        super().__init__(bench)
        self.webs, self.workers = webs, workers
        self.processes = f"{webs} web, {workers} worker, maintenance, beat; PostgreSQL; Redis"
        self._has_started = False

    def start(self, behaviours: list[str]) -> None:
        if self._has_started:
            return
        self._has_started = True
        self.database = Database.start(self.bench, self.name)
        environment = {
            "DJANGO_DEBUG": "0",
            "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
            "FIELD_ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "WEB_CONCURRENCY": str(self.webs),
        }
        self.stack: Stack = self.bench.exits.enter_context(
            running_stack(self.bench.folder, database_url=self.database.url, **environment)
        )
        self.stack.manage("migrate", "--verbosity", "0")
        further = [f"worker-{number}" for number in range(2, self.workers + 1)]
        self.stack.start("web", "worker", *further, "maintenance", "beat")
        tenants = Tenants.on(self.stack, self.bench.provider)
        self.groups = {behaviour: tenants.group(behaviour, name=f"Group-{behaviour}") for behaviour in behaviours}
        self.team: LiveTeam = tenants.team(list(self.groups.values()), credits_allocated=CREDITS)
        self.jobs = self.open_jobs(OPEN_JOBS)

    def roots(self) -> Roots:
        children = self.stack.children
        workers = [child.process.pid for name, child in children.items() if name.startswith("worker")]
        alone = {name: [children[name].process.pid] for name in ("web", "maintenance", "beat", "redis")}
        return {**alone, "worker": workers, "postgres": [self.database.pid]}

    def statements(self) -> int | None:
        return self.database.statements()

    def target(self, behaviour: str, *, clients: int = 1, stream: bool = False) -> Target:
        return self._post(
            [f"/api/jobs/{job}/llm-call" for job in self.jobs[:clients]],
            f'{{"model_group": "{self.groups[behaviour]}", "messages": {MESSAGES}'
            + (', "stream": true}' if stream else "}"),
            expect=expected(stream=stream),
        )

    def openai_target(self, behaviour: str, *, stream: bool) -> Target:
        """The same question, asked as OpenAI's clients ask it: no job, the team's budget pays."""
        body = chat_body(self.groups[behaviour], stream=stream)
        return self._post(["/v1/chat/completions"], body, expect=expected(stream=stream))

    # What else a customer does

    def create_target(self) -> Target:
        """Opening a job."""
        return self._post(["/api/jobs/create"], self._job(), expect='"job_id"')

    def complete_target(self, jobs: list[str]) -> Target:
        """Ending these, each once, and being charged."""
        paths = [f"/api/jobs/{job}/complete" for job in jobs]
        return self._post(paths, '{"status": "completed"}', expect='"credit_applied":true')

    def create_and_call_target(self, behaviour: str) -> Target:
        """A whole job in one request."""
        call = f'"model_group": "{self.groups[behaviour]}", "messages": {MESSAGES}'
        body = f"{self._job()[:-1]}, {call}}}"
        return self._post(["/api/jobs/create-and-call"], body, expect=expected(stream=False))

    def open_jobs(self, count: int) -> list[str]:
        """Their ids."""
        plan = Plan(self.create_target(), clients=16, requests=count, collect='"job_id": ?"([0-9a-f-]+)"')
        outcome = self.bench.load.run(plan)
        assert len(outcome.collected) == count, outcome.errors
        return outcome.collected

    def await_quiet(self, *, within_s: float = 30) -> None:
        """Until no call is in flight any more."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if not self.stack.query("SELECT 1 FROM jobs_call WHERE state IN ('queued', 'running') LIMIT 1"):
                return
            time.sleep(0.2)

    def _job(self) -> str:
        return f'{{"team_id": "{self.team.team_id}", "job_type": "benchmark"}}'

    def _post(self, paths: list[str], body: str, *, expect: str) -> Target:
        port = self.stack.children["web"].port
        assert port is not None
        return Target(port, paths, body, {"Authorization": f"Bearer {self.team.key}"}, expect=expect)


class OursV1(System):
    """The same processes by their other door, `/v1`: what a peer is asked, to the letter."""

    name = "ours-v1"
    title = "this service as an OpenAI API: virtual key, call and attempt on record, team's budget held to"

    def __init__(self, ours: Ours) -> None:
        super().__init__(ours.bench)
        self.ours = ours
        self.processes = "the same"

    def start(self, behaviours: list[str]) -> None:
        self.ours.start(behaviours)

    def roots(self) -> Roots:
        return self.ours.roots()

    def statements(self) -> int | None:
        return self.ours.statements()

    def target(self, behaviour: str, *, clients: int = 1, stream: bool = False) -> Target:
        return self.ours.openai_target(behaviour, stream=stream)
