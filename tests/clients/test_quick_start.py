"""The guide's Quick Start, as a reader types it: without a key where it prints none."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_provider import ANSWER
from tests.support.stack import clean_environment

FOLDER = Path(__file__).parent / "guide"
BASE_URL = "https://llm-saas.usegittie.com"
#: The header of the last command as it is printed: a stray quote that no shell can read.
PRINTED_HEADER = '"Content-Type": application/json"'

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "jq"))), reason="there is no bash, curl or jq on this machine"
)


@pytest.fixture(scope="module")
def virtual_key(open_url: str) -> str:
    """Of the team that the first block makes."""
    organization, group, team = bash((FOLDER / "quick_start_setup.sh").read_text().replace(BASE_URL, open_url))
    assert organization["organization_id"] == "org_your_company"
    assert [model["model_name"] for model in group["models"]] == ["gpt-3.5-turbo", "gpt-4"]
    assert (team["team_id"], team["credits_remaining"]) == ("team_engineering", 1000)
    return str(team["virtual_key"])


def bash(script: str) -> list[dict[str, Any]]:
    """The JSON documents that the script prints, one after the other."""
    done = subprocess.run(
        ["bash", "-e", "-c", script], env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    documents, rest = [], done.stdout.strip()
    while rest:
        document, end = json.JSONDecoder().raw_decode(rest)
        documents.append(document)
        rest = rest[end:].strip()
    return documents


def test_the_last_command_as_printed_is_for_no_shell() -> None:
    """Which is why the test below has to mend it; if this fails, the guide has been corrected."""
    script = (FOLDER / "quick_start_calls.sh").read_text()

    done = subprocess.run(["bash", "-n", "-c", script], check=False, capture_output=True, text=True, timeout=10)

    assert script.count(PRINTED_HEADER) == 1
    assert "unexpected EOF while looking for matching" in done.stderr


@pytest.mark.parametrize(
    "header",
    [
        pytest.param('"Content-Type: application/json"', id="as it is meant"),
        pytest.param('"Content-Type":', id="as curl reads what is printed: no content type"),
        pytest.param('"X-Nothing: 1"', id="left out: curl's own content type, a form"),
    ],
)
def test_the_quick_start_charges_one_credit(open_url: str, virtual_key: str, header: str) -> None:
    script = (FOLDER / "quick_start_calls.sh").read_text()
    script = script.replace(BASE_URL, open_url).replace("sk-xxx...", virtual_key).replace(PRINTED_HEADER, header)

    call, completion = bash(script)

    assert call["response"]["content"] == ANSWER
    assert (completion["status"], completion["costs"]["credit_applied"]) == ("completed", True)
