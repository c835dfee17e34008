"""The console, as an operator uses it in a browser: from the log-in to a team that is suspended."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.desk import Desk, run_job
from tests.support.browser import find_chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium here (on Debian: apt-get install chromium)"),
]
ORGANIZATION, TEAM, GROUP = "org_acme", "team_acme", "ContractAgent"
REFILLS = f"""team,amount,reason
{TEAM},25,monthly
team_of_nobody,25,monthly
{TEAM},-3,monthly
"""


def test_who_logs_in_again_gives_a_code(desk: Desk) -> None:
    desk.log_out()
    desk.give_password()
    desk.page.goto("/admin/")
    expect(desk.sidebar()).to_have_count(0)
    desk.give_code()


def test_a_team_is_opened_charged_refilled_and_suspended(desk: Desk, tmp_path: Path) -> None:
    desk.create_organization(ORGANIZATION, "Acme")
    desk.create_group(GROUP, "status-500/desk", "ok/desk")
    key = desk.create_team(ORGANIZATION, TEAM, "Acme's contracts", credits_allocated=10, group=GROUP)
    api = desk.stack.client(key)

    job_id = run_job(api, TEAM, GROUP, "review_contract")
    see_the_job(desk, job_id)

    desk.top_up(TEAM, 40, "Invoice 4711")
    refill(desk, tmp_path / "refills.csv")
    assert api.get(f"/api/credits/teams/{TEAM}/balance").json()["credits_remaining"] == 10 - 1 + 40 + 25

    desk.suspend(TEAM, "Does not pay")
    refused = api.post("/api/jobs/create", json={"team_id": TEAM, "job_type": "review_contract"})
    assert (refused.status_code, refused.json()["code"]) == (403, "team_suspended")

    desk.go_to("Access & audit", "Audit entries")
    for action, subject in [
        ("organization.created", ORGANIZATION),
        ("group.created", GROUP),
        ("team.created", TEAM),
        ("group.assigned", TEAM),
        ("credits.added", "Invoice 4711"),
        ("refill_upload.confirmed", ""),
        ("team.suspended", "Does not pay"),
        ("user.second_factor_set", "ann"),
    ]:
        desk.has_noted(action, subject)


def see_the_job(desk: Desk, job_id: str) -> None:
    """In the list, on its page, and on its receipt."""
    desk.go_to("Jobs", "Jobs")
    expect(desk.row(job_id, TEAM, "captured")).to_be_visible()
    desk.follow(job_id)
    desk.follow("Receipt")
    for texts in [
        ("Credits charged", "1"),
        ("Balance after", "9"),
        ("model-status-500", "HTTP 500"),
        (GROUP, "rescued"),
    ]:
        expect(desk.row(*texts)).to_be_visible()
    desk.follow("Back to the job")


def refill(desk: Desk, file: Path) -> None:
    """A file with one good row and two bad ones."""
    file.write_text(REFILLS)
    desk.upload(file)
    expect(desk.row("3", "team_of_nobody")).to_be_visible()
    expect(desk.row("4", "amount must be a whole number")).to_be_visible()
    report = desk.confirm()
    assert [row[0] for row in report[1:]] == ["2", "3", "4"]
    assert [row[4] for row in report[1:]] == ["applied", "invalid", "invalid"]
