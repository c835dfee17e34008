"""Which tests go to the same process where there are several (`pytest -n 3 --dist loadscope --no-loadscope-reorder`).

A plugin of our own, because xdist's marks for that do not reach it under pytest 9.2 (`_nodeid` is no more).
"""

from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).resolve().parents[1]
#: They wait for processes and for each other, and take minutes: whatever is quick fills the gaps at the end.
LONGEST_FIRST = ("proxy", "faults", "live", "browser", "clients")
#: Folders whose tests share something that there is once on a machine, the installed LiteLLM Proxy; or that is dear: a
#: browser and two months of business to look at.
TOGETHER = ("tests/proxy/", "tests/browser/")
#: Files whose tests share nothing and take long.
APART = ("tests/billing/test_ledger_machine.py",)


class ByFile(LoadScopeScheduling):
    """A file stays in one process: its fixtures are often dear."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(APART):
            return nodeid
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile | None:
    """Ours in place of xdist's own of that name."""
    return ByFile(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first, in every process alike."""

    def turn(item: pytest.Item) -> int:
        folder = item.path.relative_to(TESTS).parts[0]
        return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=turn)
