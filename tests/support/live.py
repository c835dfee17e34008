"""Fixtures of the tests on real processes, and the tenants that they work with.

A plugin (tests/live/conftest.py and tests/clients/conftest.py load it), so that both folders share one stack.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.fake_provider import COMPLETION_TOKENS, PROMPT_TOKENS
from tests.support.stack import FakeProvider, Stack, clean_environment, fresh_database, manage, running_stack
from tests.support.stack import fake_provider as running_provider

INPUT_COST_USD = Decimal("0.000001")
OUTPUT_COST_USD = Decimal("0.000002")
ANSWER_COST_USD = PROMPT_TOKENS * INPUT_COST_USD + COMPLETION_TOKENS * OUTPUT_COST_USD
UPSTREAM_KEY = "sk-upstream-secret-4711"
MESSAGES = [{"role": "user", "content": "Analyze this document."}]

MakeStack = Callable[..., AbstractContextManager[Stack]]


@dataclass(frozen=True)
class LiveTeam:
    """A team on a running stack, and its client."""

    team_id: str
    key: str
    group: str
    api: httpx.Client = field(repr=False)

    def open_job(self) -> str:
        answer = self.api.post("/api/jobs/create", json={"team_id": self.team_id, "job_type": "live"})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["job_id"])

    def call(self, job_id: str, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        payload = {"model_group": self.group, "messages": MESSAGES, **fields}
        return self.api.post(f"/api/jobs/{job_id}/llm-call", json=payload, headers=headers)

    def complete(self, job_id: str, status: str = "completed") -> httpx.Response:
        return self.api.post(f"/api/jobs/{job_id}/complete", json={"status": status})

    def balance(self) -> dict[str, Any]:
        answer = self.api.get(f"/api/credits/teams/{self.team_id}/balance")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@dataclass
class Tenants:
    """Makes groups and teams over the API, with an operator's key."""

    stack: Stack
    provider: FakeProvider
    operator: httpx.Client

    @classmethod
    def on(cls, stack: Stack, provider: FakeProvider) -> "Tenants":
        key = stack.manage("create_operator_key", f"live-{uuid.uuid4().hex[:8]}")
        return cls(stack, provider, stack.client(key))

    def group(self, *behaviours: str, name: str | None = None, **config: Any) -> str:
        """A group of one model per behaviour of the provider, in that order. `config` goes into all of them."""
        name = name or f"Group-{uuid.uuid4().hex[:8]}"
        # A key of its own: what fails in one test must not rest in another.
        config = {"api_key": f"{UPSTREAM_KEY}-{uuid.uuid4().hex[:8]}", **config}
        models = [
            {"model_name": f"secret-model-{priority}", "priority": priority, "config": self.config(behaviour) | config}
            for priority, behaviour in enumerate(behaviours)
        ]
        self._post("/api/model-groups/create", {"group_name": name, "models": models})
        return name

    def config(self, behaviour: str) -> dict[str, Any]:
        return {
            "model": "openai/hidden-model",
            "api_base": f"{self.provider.url}/{behaviour}/v1",
            "api_key": UPSTREAM_KEY,
            "input_cost_per_token": float(INPUT_COST_USD),
            "output_cost_per_token": float(OUTPUT_COST_USD),
        }

    def team(
        self, groups: Sequence[str] = (), *, credits_allocated: int = 100, web: str = "web", team_id: str | None = None
    ) -> LiveTeam:
        """A team of an organization of its own. Its first group is what it calls."""
        team_id = team_id or f"team_{uuid.uuid4().hex[:8]}"
        organization_id = f"org_{uuid.uuid4().hex[:8]}"
        self._post("/api/organizations/create", {"organization_id": organization_id, "name": organization_id})
        team = {
            "organization_id": organization_id,
            "team_id": team_id,
            "model_groups": list(groups),
            "credits_allocated": credits_allocated,
        }
        key = self._post("/api/teams/create", team)["virtual_key"]
        return LiveTeam(team_id, key, groups[0] if groups else "", self.stack.client(key, web=web))

    def add_credits(self, team: LiveTeam, amount: int) -> None:
        self._post(f"/api/credits/teams/{team.team_id}/add", {"credits_amount": amount})

    def _post(self, path: str, body: Any) -> dict[str, Any]:
        answer = self.operator.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture(scope="session")
def template_database() -> Iterator[str]:
    """A migrated database to copy from."""
    with fresh_database(os.environ["DATABASE_URL"]) as url:
        manage(clean_environment(DATABASE_URL=url, REDIS_URL="redis://127.0.0.1:1/0"), "migrate", "--verbosity", "0")
        yield url


@pytest.fixture(scope="session")
def make_stack(template_database: str, tmp_path_factory: pytest.TempPathFactory) -> MakeStack:
    """Starts a stack with a fresh database of its own, which it reaches `through` another URL where one is given."""

    @contextmanager
    def make(*names: str, through: Callable[[str], str] = str, **environment: str) -> Iterator[Stack]:
        template = urlsplit(template_database).path.lstrip("/")
        with (
            fresh_database(os.environ["DATABASE_URL"], template=template) as url,
            running_stack(tmp_path_factory.mktemp("stack"), database_url=through(url), **environment) as stack,
        ):
            stack.start(*names)
            yield stack

    return make


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProvider]:
    with running_provider(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture(scope="session")
def stack(make_stack: MakeStack, provider: FakeProvider) -> Iterator[Stack]:
    """The whole service, for all tests that leave it as it is. OpenAI, too, is the fake provider in it."""
    openai = {"OPENAI_BASE_URL": f"{provider.url}/v1", "OPENAI_API_KEY": UPSTREAM_KEY}
    with make_stack("web", "worker", "maintenance", "beat", **openai) as running:
        yield running


@pytest.fixture(scope="session")
def tenants(stack: Stack, provider: FakeProvider) -> Tenants:
    return Tenants.on(stack, provider)
