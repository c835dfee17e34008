"""Starts real PostgreSQL and Redis for the run, unless DATABASE_URL and REDIS_URL name some.

A plugin and not a conftest, because pytest-django reads the settings before any conftest is imported.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_servers = ExitStack()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Iterator[None]:
    from scripts.embedded import embedded_postgres, embedded_redis

    # Tests see the strict mode, whatever the developer's shell says; a test that needs another sets it.
    os.environ["DJANGO_DEBUG"] = "1"
    os.environ["AUTH_MODE"] = "strict"
    for name in (
        "OPERATOR_KEY",
        "LITELLM_PROXY_URL",
        "LITELLM_MASTER_KEY",
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "GEMINI_API_KEY",
    ):
        os.environ.pop(name, None)
    folder = ROOT / ".local" / "tests"
    if not os.environ.get("DATABASE_URL"):
        os.environ["DATABASE_URL"] = _servers.enter_context(embedded_postgres(folder / "postgres", durable=False))
    if not os.environ.get("REDIS_URL"):
        os.environ["REDIS_URL"] = _servers.enter_context(embedded_redis(folder / "redis"))
    return (yield)


def pytest_unconfigure() -> None:
    _servers.close()
