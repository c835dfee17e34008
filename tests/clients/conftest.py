"""See tests/support/live.py."""

from collections.abc import Iterator

import pytest

from tests.support.stack import Stack


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tests.support.live")


@pytest.fixture(scope="module")
def open_url(stack: Stack) -> Iterator[str]:
    """A web process in the guide's keyless mode."""
    stack.start("web-open", AUTH_MODE="open")
    yield stack.url("web-open")
    stack.kill("web-open")
