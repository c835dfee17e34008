"""One real LiteLLM Proxy, and one stack that uses it, for all tests of this folder."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.proxy import start_program
from tests.support.live import MakeStack, Tenants
from tests.support.real_proxy import MASTER_KEY, RealProxy, real_proxy
from tests.support.stack import FakeProvider, Stack, fresh_database

#: Often enough that no test has to wait for a period, and seldom enough that none is disturbed by one.
SETTINGS = {"PROXY_RECONCILE_INTERVAL_S": "3600", "PROXY_SPEND_INTERVAL_S": "4"}


@pytest.fixture(scope="session")
def failpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a file of a point's name makes a process die there."""
    return tmp_path_factory.mktemp("failpoints-of-the-proxy")


@pytest.fixture(scope="session")
def starting_proxy(provider: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealProxy]:
    if start_program() is None or shutil.which("npm") is None:
        pytest.skip("needs LiteLLM Proxy: name its start program in LITELLM_PROXY_START (CONTRIBUTING.md)")
    folder = tmp_path_factory.mktemp("litellm-proxy")
    with (
        fresh_database(os.environ["DATABASE_URL"]) as database_url,
        real_proxy(folder, database_url=database_url, provider_url=provider.url) as proxy,
    ):
        yield proxy


@pytest.fixture(scope="session")
def proxy_stack(starting_proxy: RealProxy, make_stack: MakeStack, failpoints: Path) -> Iterator[Stack]:
    """The whole service, with the proxy configured. It starts while the proxy does."""
    settings = {
        "LITELLM_PROXY_URL": starting_proxy.url,
        "LITELLM_MASTER_KEY": MASTER_KEY,
        "FAILPOINTS": str(failpoints),
        **SETTINGS,
    }
    with make_stack("web", "worker", "maintenance", "beat", **settings) as running:
        yield running


@pytest.fixture(scope="session")
def proxy(starting_proxy: RealProxy, proxy_stack: Stack) -> RealProxy:
    starting_proxy.wait()
    return starting_proxy


@pytest.fixture(scope="session")
def proxied(proxy: RealProxy, proxy_stack: Stack, provider: FakeProvider) -> Tenants:
    return Tenants.on(proxy_stack, provider)
