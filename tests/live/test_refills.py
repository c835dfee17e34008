"""Refill policies as they are run: by beats and workers, of which some are too many and some die."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.ledger_rules import assert_ledger_is_sound
from tests.support.live import MakeStack
from tests.support.stack import Stack, eventually

TEAMS = 60
#: Opening them by the API would take longer than the test.
OPEN_TEAMS = """
    WITH organization AS (
        INSERT INTO tenancy_organization
            (organization_id, name, status, metadata, alert_emails, created_at, updated_at)
        VALUES ('org_refilled', 'x', 'active', '{}', '{}', now(), now()) RETURNING id
    ), team AS (
        INSERT INTO tenancy_team (organization_id, team_id, team_alias, status, metadata, created_at, updated_at)
        SELECT organization.id, 'refilled-' || n, '', 'active', '{}', now(), now()
        FROM organization, generate_series(1, %s) n RETURNING id
    )
    INSERT INTO billing_creditaccount (team_id, allocated, used, held, last_sequence, auto_refill, created_at)
    SELECT id, 0, 0, 0, 0, false, now() FROM team
"""
SET_POLICIES = """
    INSERT INTO billing_refillpolicy (account_id, is_enabled, every, amount, active_from, updated_at)
    SELECT team_id, true, (ARRAY['day', 'week', 'month'])[1 + team_id %% 3], 7, now(), now() FROM billing_creditaccount
"""
REFILLS = """
    SELECT account_id, period_start, count(*) AS made, sum(amount) AS amount FROM billing_refill
    GROUP BY account_id, period_start
"""
AN_HOUR_AGO = """
from datetime import timedelta
from django.utils import timezone
from billing.services.refill_policies import run_refill_policies
print("made", run_refill_policies(now=timezone.now() - timedelta(hours=1)))
"""


@pytest.fixture
def failpoints(tmp_path: Path) -> Path:
    folder = tmp_path / "failpoints"
    folder.mkdir()
    return folder


@pytest.fixture
def refilling(make_stack: MakeStack, failpoints: Path) -> Iterator[Stack]:
    with make_stack("maintenance", "maintenance-2", FAILPOINTS=str(failpoints), REFILL_INTERVAL_S="2") as running:
        yield running


def test_two_beats_and_a_worker_killed_in_mid_refill_make_each_periods_refill_once(
    refilling: Stack, failpoints: Path
) -> None:
    refilling.query(OPEN_TEAMS, TEAMS)
    refilling.query(SET_POLICIES)
    (failpoints / "refills.made").touch()

    refilling.start("beat", "beat-2")
    log = refilling.log("maintenance")
    eventually(lambda: not (failpoints / "refills.made").exists(), "a worker dies", within_s=30, log=log)
    eventually(lambda: len(refilling.query(REFILLS)) == TEAMS, "all are refilled", within_s=60, log=log)
    refilling.kill("maintenance")
    sent = refilling.log("beat-2").read_text().count("run refill policies")
    eventually(
        lambda: refilling.log("beat-2").read_text().count("run refill policies") >= sent + 2,
        "both have sent it again",
        within_s=30,
    )
    # The same clock, set back: whatever period it falls into, it is made or earlier than what is.
    said = refilling.manage("shell", "-c", AN_HOUR_AGO)

    assert said.endswith("made 0")
    assert [(row["made"], row["amount"]) for row in refilling.query(REFILLS)] == [(1, 7)] * TEAMS
    assert_ledger_is_sound(refilling)
