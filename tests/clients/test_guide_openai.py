"""The guide's pattern B, as it is printed: its AgentModelClient and its samples, with our address and a team's key."""

import json
import subprocess
import sys
import uuid
from pathlib import Path

from tests.support.fake_provider import ANSWER
from tests.support.live import LiveTeam, Tenants
from tests.support.stack import Stack, clean_environment

FOLDER = Path(__file__).parent / "guide"
BASE_URL = "https://llm-proxy.usegittie.com"
KEY = "sk-xxx..."


def with_guide_s_model(tenants: Tenants, *, credits_allocated: int = 100, model: str = "gpt-3.5-turbo") -> LiveTeam:
    """A team that may call the model that the samples name; OpenAI is the fake provider."""
    group = f"ChatAgent_{uuid.uuid4().hex[:8]}"
    models = [{"model_name": model, "priority": 0}]
    answer = tenants.operator.post("/api/model-groups/create", json={"group_name": group, "models": models})
    assert answer.status_code == 200, answer.text
    return tenants.team([group], credits_allocated=credits_allocated)


def python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=FOLDER,
        env=clean_environment(PYTHONUTF8="1"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.rstrip("\n")


def sample(name: str, stack: Stack, key: str) -> str:
    """What a sample prints."""
    code = (FOLDER / name).read_text()
    assert BASE_URL in code
    return python("-c", code.replace(BASE_URL, stack.url()).replace(KEY, key))


def test_the_agent_model_client_works(open_url: str, tenants: Tenants) -> None:
    team = with_guide_s_model(tenants)

    said = json.loads(python("drive_agent_client.py", open_url, team.team_id, team.key, team.group))

    assert said == {"texts": [ANSWER, ANSWER], "model": "gpt-3.5-turbo"}


def test_the_streaming_sample_prints_the_answer(stack: Stack, tenants: Tenants) -> None:
    assert sample("openai_streaming.py", stack, with_guide_s_model(tenants).key) == ANSWER


def test_the_error_sample_prints_nothing_where_all_is_well(stack: Stack, tenants: Tenants) -> None:
    assert sample("openai_errors.py", stack, with_guide_s_model(tenants).key) == ""


def test_the_error_sample_tells_of_an_exhausted_budget(stack: Stack, tenants: Tenants) -> None:
    key = with_guide_s_model(tenants, credits_allocated=0).key

    assert sample("openai_errors.py", stack, key) == "Budget exhausted - add more credits!"


def test_the_error_sample_tells_of_a_model_that_is_not_allowed(stack: Stack, tenants: Tenants) -> None:
    key = with_guide_s_model(tenants, model="gpt-4").key

    assert sample("openai_errors.py", stack, key) == "Model not allowed for your team"


def test_the_error_sample_prints_any_other_error(stack: Stack) -> None:
    assert sample("openai_errors.py", stack, "sk-nobody-s").startswith("LiteLLM error: Error code: 401")
