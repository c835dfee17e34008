"""The house's rules that no linter knows."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import errors
from config.foundation.errors import DomainError

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("config", "tenancy", "modelgroups", "billing", "jobs", "scripts", "tests", "benchmarks")
#: Generated, and the guide's own code.
NOT_OURS = ("0001_initial", "clients/guide")
FILES = [
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if not any(part in str(path) for part in NOT_OURS)
]
OURS = [path for path in FILES if path.relative_to(ROOT).parts[0] not in ("tests", "scripts", "benchmarks")]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def all_errors(base: type[DomainError] = DomainError) -> Iterator[type[DomainError]]:
    for error in base.__subclasses__():
        yield error
        yield from all_errors(error)


def test_files_can_be_read_in_a_sitting() -> None:
    assert {str(path): lines for path in FILES if (lines := len(path.read_text().splitlines())) > 400} == {}


def test_functions_are_short() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{function.name}"
        for path in FILES
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno >= 60
    }
    assert long == set()


def test_every_error_has_a_status() -> None:
    for error in all_errors():
        if error.code != "insufficient_credits":
            assert error.code in errors.STATUS, error


def test_every_status_has_an_error() -> None:
    used = {error.code for error in all_errors()}
    framework = {"method_not_allowed", "not_acceptable", "unsupported_media_type", "too_many_requests"}
    assert set(errors.STATUS) - used - framework == set()


@pytest.mark.parametrize("word", ["post_save", "pre_save", "@receiver"])
def test_there_are_no_signals(word: str) -> None:
    assert [str(path) for path in OURS if word in path.read_text()] == []


def test_money_turns_into_a_float_in_one_place_only() -> None:
    users = {str(path.relative_to(ROOT)) for path in OURS if "float(" in path.read_text()}
    # The renderer prints money; the others turn times, weights and JSON's numbers into floats.
    assert users == {
        "config/foundation/api/renderers.py",
        "config/foundation/strict_json.py",
        "config/settings.py",
        "jobs/callpath/cooldown.py",
        "jobs/callpath/fallback.py",
        "jobs/callpath/resting.py",
        "modelgroups/gateway/retry_after.py",
    }


def test_web_never_loads_litellm() -> None:
    script = "import config.asgi, sys; sys.exit('litellm' in sys.modules or 'aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_open_mode_needs_debug() -> None:
    environment = {
        "DATABASE_URL": "postgresql://127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1", "AUTH_MODE": "open",
        "DJANGO_SECRET_KEY": "x" * 60, "FIELD_ENCRYPTION_KEYS": "b25seS1mb3ItdGhlLWNoZWNrcy1vZi1tYWtlLWxpbnQ=",
    }  # fmt: skip
    for command in (["-c", "import config.asgi"], ["manage.py", "check", "--deploy"]):
        run = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode != 0
        assert "AUTH_MODE" in run.stderr
