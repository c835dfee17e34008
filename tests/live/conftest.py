"""See tests/support/live.py."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tests.support.live")


@pytest.fixture
def clients_in_background() -> Iterator[Callable[..., Callable[[], Any]]]:
    """Calls a function in a thread, and returns one that waits for its result."""
    with ThreadPoolExecutor(4) as threads:

        def start(function: Callable[..., Any], *arguments: Any, **fields: Any) -> Callable[[], Any]:
            future: Future[Any] = threads.submit(function, *arguments, **fields)
            return lambda: future.result(timeout=30)

        yield start
