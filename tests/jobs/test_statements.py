"""A statement goes from the opening to the closing balance by every entry of the ledger."""

import csv
import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum
from django.utils import timezone

from billing.models import LedgerEntry
from billing.services.expiry import expire_credits
from jobs.queries.statements import Statement, team_statement
from jobs.queries.usage import parse_period
from jobs.services.jobs import FinalStatus, end_job
from tests.support.api import ApiClient, Tenant, make_tenant
from tests.support.ledger import behind_its_back, correct, give

NEXT_MONTH = (timezone.now().replace(day=28) + timedelta(days=4)).replace(day=2)


def job(tenant: Tenant, job_type: str, status: FinalStatus = "completed") -> None:
    body = {"team_id": tenant.team_id, "job_type": job_type}
    job_id = tenant.api.post("/api/jobs/create", body).json()["job_id"]
    end_job(
        job_id=job_id,
        team_pk=tenant.team_pk,
        status=status,
        metadata={},
        error_message="",
        actor="test",
    )


@pytest.fixture
def month(tenant: Tenant) -> Tenant:
    """Ten credits, a gift of four that expires, three jobs of two types and a failed one, a correction."""
    give(tenant.team_pk, 4, kind="promotion", expires_at=timezone.now() + timedelta(seconds=30))
    for job_type in ("parse", "match", "parse"):
        job(tenant, job_type)
    job(tenant, "parse", "failed")
    correct(tenant.team_pk, -2)
    expire_credits(now=timezone.now() + timedelta(minutes=1))
    return tenant


def statement(tenant: Tenant, period: str | None = None) -> Statement:
    return team_statement(
        team_pk=tenant.team_pk, team_id=tenant.team_id, period=parse_period(period, now=timezone.now())
    )


def test_every_entry_is_in_a_line_and_jobs_are_summed_up_by_type(month: Tenant) -> None:
    (team,) = statement(month).teams
    assert [(line.section, line.text, line.count, line.credits) for line in team.lines] == [
        ("grant", "purchase: Initial allocation", 1, 10),
        ("grant", "promotion", 1, 4),
        ("jobs", "parse", 2, -2),
        ("jobs", "match", 1, -1),
        ("adjustment", "", 1, -2),
    ]
    assert (team.opening, team.closing) == (0, 9)


def test_what_expired_is_a_line(tenant: Tenant) -> None:
    give(tenant.team_pk, 4, kind="promotion", expires_at=timezone.now() + timedelta(seconds=30))
    expire_credits(now=timezone.now() + timedelta(minutes=1))
    (team,) = statement(tenant).teams
    assert ("expiry", "Credits expired", 1, -4) in [(x.section, x.text, x.count, x.credits) for x in team.lines]
    assert team.closing == 10


def test_the_totals_equal_the_ledger_and_one_period_follows_the_other(month: Tenant) -> None:
    with behind_its_back() as cursor:
        cursor.execute("UPDATE billing_ledgerentry SET created_at = created_at - interval '40 days' WHERE sequence < 4")
        cursor.execute("SELECT to_char(now() - interval '40 days', 'YYYY-MM')")
        (earlier,) = cursor.fetchone()
        before, now = statement(month, earlier), statement(month)
        assert before.opening == 0
        assert before.closing == LedgerEntry.objects.filter(sequence__lt=4).aggregate(sum=Sum("amount"))["sum"]
        assert now.closing == LedgerEntry.objects.aggregate(sum=Sum("amount"))["sum"]
        assert before.closing == now.opening
        assert now.opening + sum(line.credits for line in now.teams[0].lines) == now.closing


def test_an_organizations_statement_has_its_teams_and_no_others(month: Tenant, operator: ApiClient) -> None:
    make_tenant("b", credits_allocated=7)
    answer = operator.get("/api/organizations/org_a/statement").json()
    assert [team["team_id"] for team in answer["teams"]] == ["team_a"]
    assert (answer["opening_balance"], answer["closing_balance"]) == (0, 9)


def test_the_csv_adds_up_line_by_line(month: Tenant) -> None:
    answer = ApiClientAccepting("text/csv", month.key).get("/api/teams/team_a/statement")
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert (rows[0]["section"], rows[-1]["section"]) == ("opening", "closing")
    balance = int(rows[0]["balance"])
    for row in rows[1:]:
        balance += int(row["credits"] or 0)
        assert int(row["balance"]) == balance
    assert balance == 9


def test_no_text_becomes_a_formula_or_a_tag(tenant: Tenant, capsys: pytest.CaptureFixture[str]) -> None:
    job(tenant, "=HYPERLINK(1)")
    job(tenant, "<script>x</script>")
    call_command("print_statement", "--team", tenant.team_id)
    assert "'=HYPERLINK(1)" in capsys.readouterr().out
    call_command("print_statement", "--organization", tenant.organization_id, "--html")
    page = capsys.readouterr().out
    assert "&lt;script&gt;x&lt;/script&gt;" in page
    assert "<script" not in page


class ApiClientAccepting(ApiClient):
    """A client that asks for a form of the answer."""

    def __init__(self, form: str, key: str) -> None:
        super().__init__(key)
        self._client.defaults["HTTP_ACCEPT"] = form


def test_the_page_prints(month: Tenant) -> None:
    answer = ApiClientAccepting("text/html", month.key).get("/api/teams/team_a/statement")
    assert answer.headers["Content-Type"].startswith("text/html")
    page = answer.content.decode()
    assert "@media print" in page
    assert "Closing balance" in page


@pytest.mark.parametrize("form", ["application/json", "text/csv", "text/html"])
def test_errors_are_json_whatever_was_asked_for(month: Tenant, form: str) -> None:
    client, other = ApiClientAccepting(form, month.key), make_tenant("b")
    for path, status in (
        ("/api/teams/team_a/statement?period=never", 400),
        (f"/api/teams/{other.team_id}/statement", 403),
        ("/api/organizations/org_a/statement", 403),
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json")
        assert answer.json()["code"]
    assert ApiClientAccepting(form, "sk-wrong").get("/api/teams/team_a/statement").status_code == 401


def test_a_form_that_there_is_none_of_is_refused(month: Tenant) -> None:
    answer = ApiClientAccepting("application/pdf", month.key).get("/api/teams/team_a/statement")
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


def test_the_command_says_no_to_what_is_not_there(db: None) -> None:
    for arguments in (["--team", "none"], ["--organization", "none"]):
        with pytest.raises(CommandError, match="not found"):
            call_command("print_statement", *arguments)
