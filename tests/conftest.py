"""Fixtures that every folder of tests may use."""

from pathlib import Path

import pytest

from tests.support.api import ApiClient, Tenant, make_operator, make_tenant

#: Folders whose tests share something that there is once on a machine: the installed LiteLLM Proxy.
TOGETHER = ("proxy",)
#: Files whose tests share nothing and take long.
APART = ("test_ledger_machine.py",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run in several processes, a file stays in one of them: its fixtures are often dear."""
    for item in items:
        file = item.path.relative_to(Path(__file__).parent)
        if file.name not in APART:
            group = file.parts[0] if file.parts[0] in TOGETHER else str(file)
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture
def operator(db: None) -> ApiClient:
    """A client with an operator key of every scope."""
    return make_operator()


@pytest.fixture
def tenant(db: None) -> Tenant:
    """A team with ten credits and one group."""
    return make_tenant()
