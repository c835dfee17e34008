"""See tests/support/live.py and tests/support/browser.py."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, BrowserContext, ViewportSize, expect

from tests.browser import demo
from tests.browser.desk import Desk
from tests.support.browser import PATIENCE_MS, Watch, running_chromium
from tests.support.stack import FakeProvider, Stack

if TYPE_CHECKING:  # The plugin has to be the first to import it.
    from tests.support.live import MakeStack

DESKTOP: ViewportSize = {"width": 1280, "height": 800}


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tests.support.live")


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Ends with the package: whatever runs in this process afterwards may use Django's ORM again."""
    expect.set_options(timeout=PATIENCE_MS)
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def console_stack(make_stack: "MakeStack", provider: FakeProvider) -> Iterator[Stack]:
    """A service of its own: two months of business, and log-in as in production."""
    with make_stack("web", "worker", "maintenance", "beat", CONSOLE_REQUIRE_MFA="1") as stack:
        demo.seed(stack)
        yield stack


@pytest.fixture(scope="package")
def context(chromium: Browser, console_stack: Stack) -> Iterator[BrowserContext]:
    """One browser's pages and cookies."""
    context = chromium.new_context(
        base_url=console_stack.url(), viewport=DESKTOP, locale="en-GB", timezone_id="UTC", reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE_MS)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield context
    context.close()


@pytest.fixture(scope="package")
def watch(context: BrowserContext, console_stack: Stack) -> Watch:
    return Watch(context, console_stack.url())


@pytest.fixture(scope="package")
def desk(context: BrowserContext, watch: Watch, console_stack: Stack, provider: FakeProvider) -> Desk:
    """An operator at the console, who has logged in for the first time and set a second factor."""
    desk = Desk(context.new_page(), console_stack, provider)
    desk.log_in_for_the_first_time()
    return desk


@pytest.fixture(autouse=True)
def nothing_went_wrong(watch: Watch) -> Iterator[None]:
    """On whatever page a test was: only this server was asked, nothing was refused, no script failed."""
    del watch.problems[:]
    yield
    assert watch.problems == []
