"""See tests/support/live.py and tests/proxy/scene.py."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tests.support.live")
    config.pluginmanager.import_plugin("tests.proxy.scene")
