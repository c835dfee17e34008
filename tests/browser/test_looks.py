"""How the console looks: light, dark and on a phone. `make screenshots` keeps what is seen here as docs/images/."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import ViewportSize, expect

from tests.browser import demo
from tests.browser.desk import KEY, Desk
from tests.support.browser import find_chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium here (on Debian: apt-get install chromium)"),
]
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
LOOKS = {"light": DESKTOP, "dark": DESKTOP, "phone": PHONE}
#: Page → what is there once all of it is.
PAGES = {
    "dashboard": "Failed calls by cause",
    "team": "Usage in",
    "job-receipt": "Balance after",
    "refill-preview": "This is a preview",
}
REFILLS = """team,amount,reason
northwind-claims,200,Contract of 2026
globex-intake,150,Contract of 2026
initech-recruiting,120,Contract of 2026
northwind-clams,200,Contract of 2026
globex-research,1.5,Contract of 2026
northwind-support,80,Contract of 2026
"""
#: A page is as wide as its window.
OVERHANG = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def addresses(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of the pages."""
    job_id = demo.run_a_rescued_job(desk.stack, desk.provider)
    file = tmp_path_factory.mktemp("refills") / "contracts-2026.csv"
    file.write_text(REFILLS)
    desk.upload(file)
    return {
        "dashboard": "/admin/",
        "team": f"/admin/tenancy/team/{demo.TEAM_PK}/change/",
        "job-receipt": f"/admin/jobs/job/{job_id}/receipt/",
        "refill-preview": desk.page.url,
    }


@pytest.fixture
def take_picture(desk: Desk) -> Callable[[str], None]:
    """Into the folder that SCREENSHOTS names, where it names one."""

    def take(name: str) -> None:
        if folder := os.environ.get("SCREENSHOTS"):
            desk.page.screenshot(path=Path(folder) / f"{name}.png", animations="disabled", caret="hide")

    return take


@pytest.mark.parametrize(("name", "look"), [(name, look) for name in PAGES for look in LOOKS])
def test_a_page_is_as_wide_as_its_window(
    desk: Desk, addresses: dict[str, str], take_picture: Callable[[str], None], name: str, look: str
) -> None:
    page = desk.page
    page.set_viewport_size(LOOKS[look])
    page.emulate_media(color_scheme="dark" if look == "dark" else "light", reduced_motion="reduce")
    page.goto(addresses[name])
    expect(page.get_by_text(PAGES[name]).first).to_be_visible()
    page.evaluate("document.fonts.ready.then(() => true)")

    assert page.evaluate(OVERHANG) == 0
    assert not KEY.search(page.content())
    take_picture(f"{name}-{look}")
