"""manage.py refill_credits: every row once, whatever is wrong with the others, whenever it is killed."""

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from billing.models import CreditAccount, CreditGrant, LedgerEntry, Refill
from billing.queries.books import LEDGER_RULES, breaches
from tests.concurrency.threads import at_once
from tests.support.api import Tenant, make_tenant
from tests.support.ledger import balance, hold
from tests.support.refills import ROOT, environment, kill_after, many_teams


@pytest.fixture
def teams(db: None) -> dict[str, int]:
    """Two teams of ten credits."""
    return {name: make_tenant(name, groups=[]).team_pk for name in "ab"}


def written(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "refills.csv"
    file.write_text("\n".join(["team,amount,reason", *lines]) + "\n", encoding="utf-8")
    return file


def run(*arguments: object) -> int:
    """The exit status."""
    try:
        call_command("refill_credits", *map(str, arguments))
    except CommandError as error:
        return error.returncode
    return 0


def allocated(teams: dict[str, int]) -> dict[str, int]:
    return {name: balance(pk)[0] for name, pk in teams.items()}


def test_a_file_is_applied_row_by_row_and_says_why(teams: dict[str, int], tmp_path: Path) -> None:
    file = written(tmp_path, "team_a,5,Invoice 7", "team_b,3,Résumé", "team_a,1,Gift")

    assert run("--csv", file, "--batch-id", "nov") == 0

    assert allocated(teams) == {"a": 16, "b": 13}
    entries = LedgerEntry.objects.filter(account_id=teams["a"], actor="refill_credits").order_by("sequence")
    assert list(entries.values_list("amount", "reason", "metadata")) == [
        (5, "Invoice 7", {"batch_id": "nov"}),
        (1, "Gift", {"batch_id": "nov"}),
    ]
    assert set(CreditGrant.objects.filter(entry__in=entries).values_list("kind", flat=True)) == {"refill"}
    assert breaches(LEDGER_RULES) == []


def test_a_batch_that_is_sent_again_adds_nothing(
    teams: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["team_a,5,x", "team_b,3,x", "team_a,5,x"]
    run("--csv", written(tmp_path, *rows), "--batch-id", "nov")
    assert run("--csv", written(tmp_path, *reversed(rows)), "--batch-id", "nov") == 0
    assert "added 0 credits by 0 rows; 3 were done before" in capsys.readouterr().out
    assert allocated(teams) == {"a": 20, "b": 13}

    assert run("--csv", written(tmp_path, *rows), "--batch-id", "dec") == 0
    assert allocated(teams) == {"a": 30, "b": 16}


def test_a_row_of_the_same_batch_with_another_amount_is_refused(
    teams: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--csv", written(tmp_path, "team_a,5,x"), "--batch-id", "nov")
    assert run("--csv", written(tmp_path, "team_a,50,x"), "--batch-id", "nov") == 2
    assert "line 2: team_a: this batch has added 5 credits for this row before" in capsys.readouterr().err
    assert allocated(teams)["a"] == 15


BAD = {
    "team_none,5,x": "Team 'team_none' not found",
    "team a,5,x": "team must be 1 to 128 characters",
    ",5,x": "team must be 1 to 128 characters",
    "team_a,0,x": "amount must be a whole number",
    "team_a,-5,x": "amount must be a whole number",
    "team_a,1.5,x": "amount must be a whole number",
    "team_a,,x": "amount must be a whole number",
    "team_a,٣,x": "amount must be a whole number",
    "team_a,1000000001,x": "amount must be a whole number",
    "team_a,5,x,y": "has more than three fields",
    f"team_a,5,{'x' * 1025}": "reason must be at most 1024 characters",
}


def test_bad_rows_are_reported_by_line_and_the_others_applied(
    teams: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.csv"
    file = written(tmp_path, "team_a,5,x", *BAD, "team_b,3,x")

    assert run("--csv", file, "--report", report) == 2

    errors = capsys.readouterr().err
    for line, why in enumerate(BAD.values(), start=3):
        assert f"line {line}: " in errors
        assert why in errors
    assert allocated(teams) == {"a": 15, "b": 13}
    assert len(report.read_text().splitlines()) == len(BAD) + 3


@pytest.mark.parametrize("bad", ["team_none,5,x", "team_a,x,x"])
def test_all_or_nothing_is_nothing_where_a_row_is_bad(teams: dict[str, int], tmp_path: Path, bad: str) -> None:
    file = written(tmp_path, "team_a,5,x", bad)
    assert run("--csv", file, "--all-or-nothing", "--batch-id", "nov") == 1
    assert allocated(teams) == {"a": 10, "b": 10}
    assert run("--csv", written(tmp_path, "team_a,5,x"), "--all-or-nothing", "--batch-id", "nov") == 0
    assert allocated(teams)["a"] == 15


def test_a_dry_run_says_what_it_would_do_and_does_not(
    teams: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--csv", written(tmp_path, "team_a,5,x", "team_x,5,x"), "--dry-run") == 2
    assert "would add 5 credits by 1 rows" in capsys.readouterr().out
    assert allocated(teams) == {"a": 10, "b": 10}
    assert not Refill.objects.exists()


def test_teams_are_chosen_by_organization_group_and_what_is_available(db: None) -> None:
    teams = {
        "a": make_tenant("a", credits_allocated=10).team_pk,
        "b": make_tenant("b", credits_allocated=3).team_pk,
        "c": make_tenant("c", credits_allocated=0, groups=["Group-a"]).team_pk,
    }
    hold(teams["b"])
    assert run("--organization", "org_a", "--amount", 1) == 0
    assert allocated(teams) == {"a": 11, "b": 3, "c": 0}
    assert run("--group", "Group-a", "--amount", 1) == 0
    assert allocated(teams) == {"a": 12, "b": 3, "c": 1}
    assert run("--below", 3, "--amount", 2) == 0
    assert allocated(teams) == {"a": 12, "b": 5, "c": 3}
    assert run("--all", "--to", 10, "--reason", "Top up") == 0
    # One of b's is held.
    assert allocated(teams) == {"a": 12, "b": 11, "c": 10}
    assert run("--all", "--to", 10) == 0
    assert allocated(teams) == {"a": 12, "b": 11, "c": 10}


def test_filling_up_stops_at_the_credit_limit_and_a_row_beyond_it_is_refused(
    teams: dict[str, int], tmp_path: Path
) -> None:
    CreditAccount.objects.filter(pk=teams["a"]).update(credit_limit=12)
    assert run("--csv", written(tmp_path, "team_a,3,x")) == 2
    assert allocated(teams)["a"] == 10
    assert run("--all", "--to", 20) == 0
    assert allocated(teams) == {"a": 12, "b": 20}
    assert run("--csv", written(tmp_path, "team_a,3,x"), "--kind", "purchase") == 0
    assert allocated(teams)["a"] == 15


def test_kind_and_expiry_are_the_grants(teams: dict[str, int]) -> None:
    expires_at = timezone.now() + timedelta(days=30)
    assert run("--all", "--amount", 1, "--kind", "promotion", "--expires", expires_at.isoformat()) == 0
    grants = CreditGrant.objects.filter(kind="promotion")
    assert set(grants.values_list("expires_at", flat=True)) == {expires_at}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--all"],
        ["--all", "--amount", "1", "--to", "2"],
        ["--csv", "nowhere.csv"],
        ["--csv", "nowhere.csv", "--all", "--amount", "1"],
        ["--all", "--amount", "0"],
        ["--all", "--amount", "1", "--batch-id", "policy:2026-11-01"],
        ["--all", "--amount", "1", "--expires", "2030-01-01"],
    ],
)
def test_a_command_that_makes_no_sense_does_nothing(teams: dict[str, int], arguments: list[str]) -> None:
    assert run(*arguments) == 1
    assert allocated(teams) == {"a": 10, "b": 10}


@pytest.mark.parametrize(
    "content", [b"", b"a,b\nteam_a,5\n", b"team,amount,reason\nteam_a,5,\xff\n", b'team,amount\n"']
)
def test_a_file_that_is_none_does_nothing(teams: dict[str, int], tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "odd.csv"
    file.write_bytes(content)
    assert run("--csv", file) in (1, 2)
    assert allocated(teams) == {"a": 10, "b": 10}


# --- At once, and killed ------------------------------------------------------------------------------------


def many_rows(tmp_path: Path, count: int) -> Path:
    return written(tmp_path, *(f"many-{number},{number % 7 + 1},Row {number}" for number in range(1, count + 1)))


@pytest.mark.django_db(transaction=True)
def test_the_same_batch_twice_at_once_is_applied_once(tmp_path: Path) -> None:
    tenants: list[Tenant] = [make_tenant(name, groups=[]) for name in "ab"]
    file = written(tmp_path, "team_a,5,x", "team_b,3,x")
    results = at_once([lambda: run("--csv", file, "--batch-id", "nov")] * 4)
    assert results == [0] * 4
    assert [balance(tenant.team_pk)[0] for tenant in tenants] == [15, 13]


@pytest.mark.django_db(transaction=True)
def test_a_run_of_ten_thousand_rows_that_is_killed_and_run_again_applies_each_once(tmp_path: Path) -> None:
    count = 10_000
    many_teams(count)
    file = many_rows(tmp_path, count)
    command = [sys.executable, "manage.py", "refill_credits", "--csv", str(file), "--batch-id", "big"]

    applied = kill_after(count // 4, command)
    assert count // 4 <= applied < count

    began = time.monotonic()
    second = subprocess.run(command, cwd=ROOT, env=environment(), check=False, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert time.monotonic() - began < 60
    assert f"{applied} were done before" in second.stdout
    assert Refill.objects.count() == LedgerEntry.objects.count() == count
    for account in CreditAccount.objects.filter(team__team_id__startswith="many-").select_related("team")[:500]:
        assert account.allocated == int(account.team.team_id.partition("-")[2]) % 7 + 1
    assert breaches(LEDGER_RULES) == []
