"""See tests/support/live.py: benchmarks imports it, and pytest wants to be first."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tests.support.live")
