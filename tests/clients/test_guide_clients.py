"""The integration guide's own client code, unchanged, as the processes that integrating apps run."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_provider import ANSWER
from tests.support.live import LiveTeam, Tenants
from tests.support.stack import ROOT, Stack, clean_environment

FOLDER = Path(__file__).parent / "guide"
GUIDE = ROOT.parent / "shared" / "integration-guide.md"
#: File → the heading that its code block comes first after, and the line that it ends before.
BLOCKS = {
    "python_client.py": ("### Python Integration", "# Usage"),
    "resume_analyzer.py": ("## Complete Example: Resume Parsing Workflow\n", "# Usage"),
    "node_client.mjs": ("### Node.js Integration", "// Usage"),
    "agent_client.py": ("### Python Implementation", "# Usage"),
    "agent_client.mjs": ("### Node.js Implementation", "// Usage"),
    "openai_streaming.py": ("### Streaming Responses", None),
    "openai_errors.py": ("### Error Handling", None),
    "quick_start_setup.sh": ("### 1. Set Up Organization & Team", None),
    "quick_start_calls.sh": ("### 2. Make LLM Calls", None),
}


def run(*command: str) -> tuple[dict[str, Any], str]:
    """The JSON of the client's last line, and what it printed before."""
    done = subprocess.run(
        command,
        cwd=FOLDER,
        env=clean_environment(PYTHONUTF8="1"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    before, _, last = done.stdout.rstrip("\n").rpartition("\n")
    return json.loads(last), before


def assert_both_jobs_went_well(said: dict[str, Any]) -> None:
    """What the drivers of both SaasLLMClients do: a completed job of two calls, and a failed one."""
    assert said["parsed"] == ANSWER
    costs = said["completion"]["costs"]
    assert (costs["total_calls"], costs["successful_calls"], costs["failed_calls"]) == (2, 2, 0)
    assert (costs["credit_applied"], costs["credits_remaining"]) == (True, 99)
    assert [call["purpose"] for call in said["completion"]["calls"]] == ["parsing", "analysis"]
    assert said["failure"]["status"] == "failed"
    assert said["failure"]["costs"]["credit_applied"] is False
    assert (said["credits"]["credits_used"], said["credits"]["credits_held"]) == (1, 0)


@pytest.fixture
def team(tenants: Tenants) -> LiveTeam:
    return tenants.team([tenants.group("ok")])


if GUIDE.exists():  # No skip: most checkouts have no guide beside them, and CI refuses skips.

    @pytest.mark.parametrize("name", BLOCKS)
    def test_the_client_s_code_is_the_guide_s(name: str) -> None:
        heading, end = BLOCKS[name]
        section = GUIDE.read_text().partition(f"\n{heading}")[2]
        match = re.search(r"^```\w+\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        assert match is not None
        code = match[1].partition(end)[0] if end else match[1]
        assert (FOLDER / name).read_text() == code


def test_the_guide_s_python_client_works(stack: Stack, team: LiveTeam) -> None:
    said, _ = run(sys.executable, "drive_python_client.py", stack.url(), team.team_id, team.key, team.group)

    assert_both_jobs_went_well(said)


@pytest.mark.node
@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on this machine")
def test_the_guide_s_node_client_works(stack: Stack, team: LiveTeam) -> None:
    said, _ = run("node", "drive_node_client.mjs", stack.url(), team.team_id, team.key, team.group)

    assert_both_jobs_went_well(said)


def test_the_guide_s_resume_analyzer_pays_one_credit_for_three_calls(stack: Stack, tenants: Tenants) -> None:
    team = tenants.team([tenants.group("ok", name="ResumeAgent")])

    said, printed = run(sys.executable, "drive_resume_analyzer.py", stack.url(), team.team_id, team.key)

    assert said["executive_summary"] == ANSWER
    assert (said["costs"]["total_calls"], said["costs"]["credits_remaining"]) == (3, 99)
    lines = [line.strip() for line in printed.splitlines()]
    assert {"✓ Generated summary (Call 3/3)", "Total USD cost: $0.0001", "Credit charged: True"} <= set(lines)
