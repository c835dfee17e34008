"""The official OpenAI SDK for Node against our own base URL, and the guide's AgentModelClient on it."""

import json
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.clients.test_guide_openai import with_guide_s_model
from tests.support.fake_endpoints import VECTOR
from tests.support.fake_provider import ANSWER, COMPLETION_TOKENS, PROMPT_TOKENS
from tests.support.live import Tenants
from tests.support.stack import Stack, clean_environment

HERE = Path(__file__).parent

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(not all(map(shutil.which, ("node", "npm"))), reason="there is no node or npm on this machine"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with the SDK in it, by the lock file's digest."""
    made = tmp_path_factory.mktemp("node") / "app"
    shutil.copytree(HERE / "node", made, ignore=shutil.ignore_patterns("node_modules"))
    guide = (HERE / "guide" / "agent_client.mjs").read_text()
    (made / "agent.mjs").write_text(guide + (made / "drive_agent_client.mjs").read_text())
    run(made, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", timeout_s=120)
    return made


def run(folder: Path, *command: str, timeout_s: float = 60) -> str:
    done = subprocess.run(
        command, cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_sdk_works_as_against_openai(folder: Path, stack: Stack, tenants: Tenants) -> None:
    name = f"Tools_{uuid.uuid4().hex[:6]}"
    team = tenants.team([tenants.group("ok"), tenants.group("tool-call", name=name)])
    poor = tenants.team([team.group], credits_allocated=0)

    model = "secret-model-0"
    said: dict[str, Any] = json.loads(
        run(folder, "node", "drive_openai.mjs", f"{stack.url()}/v1", team.key, model, name, poor.key)
    )

    assert said == {
        "text": ANSWER,
        "hasRequestId": True,
        "streamed": ANSWER,
        "tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
        "tool": "weather",
        "vector": VECTOR,
        "response": ANSWER,
        "models": [model, team.group, name],
        "errors": {
            "key": ["AuthenticationError", 401, "invalid_api_key", False],
            "model": ["PermissionDeniedError", 403, "model_access_denied", False],
            "request": ["BadRequestError", 400, "invalid_request", False],
            "budget": ["APIError", 402, "insufficient_quota", True],
        },
    }


def test_the_guide_s_agent_model_client_works(folder: Path, open_url: str, tenants: Tenants) -> None:
    team = with_guide_s_model(tenants)

    said = json.loads(run(folder, "node", "agent.mjs", open_url, team.team_id, team.key, team.group))

    assert said == {"text": ANSWER, "model": "gpt-3.5-turbo"}
