"""What an operator does at the console, by what can be seen and read aloud: roles and labels, no CSS."""

import csv
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, expect

from tests.support.browser import totp
from tests.support.stack import FakeProvider, Stack

NAME, PASSWORD = "ann", "correct horse battery"
MAKE_USER = (
    f"from django.contrib.auth.models import User; User.objects.create_superuser({NAME!r}, password={PASSWORD!r})"
)
KEY = re.compile(r"\bsk-[\w-]{20,}")


@dataclass
class Desk:
    """A page of the browser, and whose it is."""

    page: Page
    stack: Stack
    provider: FakeProvider
    secret: str = field(default="", repr=False)

    # Getting in

    def log_in_for_the_first_time(self) -> None:
        """Where the second factor is required, nobody gets further than to the page on which it is set."""
        self.stack.manage("shell", "-c", MAKE_USER)
        self.give_password()
        expect(self.page).to_have_url(re.compile("/accounts/2fa/totp/activate/"))
        self.secret = self.page.get_by_label("Authenticator secret").input_value()
        self.page.get_by_label("Authenticator code").fill(totp(self.secret))
        self.press("Activate")
        self.page.get_by_role("link", name="To the console").click()
        self.is_in()

    def give_code(self) -> None:
        # The next one, because each is taken once.
        self.page.get_by_label("Code").fill(totp(self.secret, steps=1))
        self.press("Sign In")
        self.is_in()

    def give_password(self) -> None:
        self.page.goto("/admin/")
        self.fill("Username", NAME)
        self.fill("Password", PASSWORD)
        self.press("Log in")

    def is_in(self) -> None:
        expect(self.sidebar().get_by_role("link", name="Overview")).to_be_visible()

    def log_out(self) -> None:
        """By the keyboard alone."""
        self.page.get_by_role("button", name="Account of").press("Enter")
        way_out = self.page.get_by_role("button", name="Log out")
        expect(way_out).to_be_visible()
        way_out.press("Enter")
        expect(self.sidebar()).to_have_count(0)

    # What all pages have

    def sidebar(self) -> Locator:
        return self.page.get_by_role("navigation", name="Console")

    def go_to(self, group: str, name: str) -> None:
        """By the sidebar: two clicks at most."""
        link = self.sidebar().get_by_role("link", name=name, exact=True)
        opener = self.sidebar().get_by_role("button", name=group, exact=True)
        # Once the page's script has said which groups are open.
        expect(opener).to_have_attribute("aria-expanded", re.compile("true|false"))
        if opener.get_attribute("aria-expanded") == "false":
            opener.click()
        link.click()

    def fill(self, label: str, value: object) -> None:
        self.labelled(label).fill(str(value))

    def labelled(self, label: str) -> Locator:
        """By its whole label; a star tells those that are required."""
        return self.page.get_by_label(re.compile(rf"^\s*{label}\s*\*?\s*$"))

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def follow(self, name: str) -> None:
        """A link, by the end of its name."""
        self.page.get_by_role("link", name=re.compile(rf"(^|\s){re.escape(name)}$")).first.click()

    def is_told(self, text: str) -> None:
        expect(self.page.get_by_text(text).first).to_be_visible()

    # Tenants

    def create_organization(self, organization_id: str, name: str) -> None:
        self.go_to("Tenants", "Organizations")
        self.follow("Create an organization")
        self.fill("Organization ID", organization_id)
        self.fill("Name", name)
        self.press("Create")
        self.is_told("Its teams come next.")

    def create_group(self, name: str, *behaviours: str) -> None:
        """Of a model for each behaviour of the provider, tried in this order."""
        self.go_to("Models", "Model groups")
        self.page.get_by_role("link", name="Add model group").first.click()
        self.fill("Group name", name)
        rows = self.page.get_by_role("rowgroup").filter(has=self.page.get_by_label("Model name"), visible=True)
        for number, behaviour in enumerate(behaviours):
            if number:
                self.page.get_by_role("link", name="Add another").click()
            row = rows.nth(number)
            row.get_by_label("Model name").fill(f"model-{behaviour.partition('/')[0]}")
            row.get_by_label("New key").fill("sk-upstream-secret-4711")
            row.get_by_label("Config").fill(json.dumps(self.config(behaviour)))
        self.press("Save")
        expect(self.page).to_have_url(re.compile("/modelgroup/$"))
        expect(self.page.get_by_role("link", name=name, exact=True).last).to_be_visible()

    def config(self, behaviour: str) -> dict[str, Any]:
        return {
            "model": "openai/hidden-model",
            "api_base": f"{self.provider.url}/{behaviour}/v1",
            "input_cost_per_token": 0.000001,
            "output_cost_per_token": 0.000002,
        }

    def create_team(self, organization_id: str, team_id: str, name: str, *, credits_allocated: int, group: str) -> str:
        """From its organization's page; returns the key, which is shown once, by way of the clipboard."""
        self.go_to("Tenants", "Organizations")
        self.follow(organization_id)
        self.follow("Create a team")
        expect(self.labelled("Organization ID")).to_have_value(organization_id)
        self.fill("Team ID", team_id)
        self.fill("Name", name)
        self.fill("Credits", credits_allocated)
        self.page.get_by_label(group, exact=True).check()
        self.press("Create")
        self.press("Copy")
        expect(self.page.get_by_role("button", name="Copied")).to_be_visible()
        key = str(self.page.evaluate("navigator.clipboard.readText()"))
        expect(self.page.get_by_label("Virtual key")).to_have_value(key)
        self.follow("To the team")
        expect(self.page.get_by_role("heading", name=team_id).first).to_be_visible()
        assert key not in self.page.content()
        return key

    def open_team(self, team_id: str) -> None:
        self.go_to("Tenants", "Teams")
        self.follow(team_id)
        expect(self.page.get_by_role("heading", name=team_id).first).to_be_visible()

    def top_up(self, team_id: str, amount: int, reason: str) -> None:
        self.open_team(team_id)
        self.follow("Top up")
        self.fill("Amount", amount)
        self.fill("Reason", reason)
        self.press("Add credits")
        self.is_told(f"{amount} credits were added")

    def suspend(self, team_id: str, reason: str) -> None:
        self.open_team(team_id)
        # Unfold's menus are no buttons.
        self.page.get_by_role("button", name="More", exact=True).click()
        self.follow("Suspend or resume")
        self.fill("Reason", reason)
        self.press("Suspend")
        self.is_told("Suspended: its keys do not work.")

    # Credits of many

    def upload(self, file: Path) -> None:
        """As far as to the preview."""
        self.go_to("Credits", "Refill uploads")
        self.follow("Upload a file")
        self.labelled("File").set_input_files(file)
        self.press("Preview")
        self.is_told("This is a preview: nobody has got any credits.")

    def confirm(self) -> list[list[str]]:
        """And wait until it is done. Returns the report's rows, with their head."""
        self.press("Confirm")
        expect(self.page.get_by_text("Done.", exact=True)).to_be_visible()
        with self.page.expect_download() as download:
            self.follow("Download the report")
        with download.value.path().open(newline="") as report:
            return list(csv.reader(report))

    # Looking

    def row(self, *texts: str) -> Locator:
        """A table's row that has all of them."""
        rows = self.page.get_by_role("row")
        for text in texts:
            rows = rows.filter(has_text=text)
        return rows.first

    def has_noted(self, action: str, subject: str) -> None:
        """In the audit log, on its first page."""
        expect(self.row(action, subject, f"console:{NAME}")).to_be_visible()


def run_job(api: httpx.Client, team_id: str, group: str, job_type: str) -> str:
    """As an app does it, with its team's key."""
    job = api.post("/api/jobs/create", json={"team_id": team_id, "job_type": job_type})
    assert job.status_code == 200, job.text
    job_id = str(job.json()["job_id"])
    messages = [{"role": "user", "content": "Analyze this document."}]
    call = api.post(f"/api/jobs/{job_id}/llm-call", json={"model_group": group, "messages": messages})
    assert call.status_code == 200, call.text
    end = api.post(f"/api/jobs/{job_id}/complete", json={"status": "completed"})
    assert end.json()["costs"]["credit_applied"] is True, end.text
    return job_id
