"""The console's first page."""

import html
import re
from datetime import UTC, date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.utils import timezone

from billing.models import ProxyDrift
from config.console.dashboard import cards
from config.console.filters import parse_filters
from jobs.models import Attempt, Call, Job
from jobs.queries.dashboard import Dashboard, Scope, Span, read_dashboard
from jobs.services.jobs import end_job, open_job
from jobs.services.rollups import refresh_rollups
from tenancy.models import Alert, WebhookEndpoint
from tenancy.queries.principals import TeamRef
from tenancy.services.alerts import Finding, open_alert
from tenancy.services.webhooks.endpoints import create_endpoint
from tests.support.admin import AdminClient
from tests.support.api import Tenant, make_tenant

TODAY = date(2026, 3, 31)
MOST_QUERIES = 15


def today() -> date:
    return timezone.now().astimezone(UTC).date()


def make_job(tenant: Tenant, *, status: Any = "completed", cost_usd: str = "0.02", days_ago: int = 0) -> None:
    team = TeamRef(tenant.team_pk, tenant.team_id, tenant.organization_id, is_suspended=False)
    opened = open_job(team=team, virtual_key_id=None, job_type=f"type-{tenant.team_id}", user_id="u", metadata={})
    now = timezone.now()
    moment = now - timedelta(days=days_ago)
    is_failed = status == "failed"
    call = Call.objects.create(
        job_id=opened.job_id,
        team_id=tenant.team_pk,
        model_group="g",
        state="failed" if is_failed else "succeeded",
        cause="timeout" if is_failed else "",
        cost_usd=Decimal(cost_usd),
        prompt_tokens=100,
        completion_tokens=50,
        latency_ms=800,
        ended_at=now,
        deadline_at=now,
    )
    Attempt.objects.create(
        call=call,
        sequence=1,
        model_name="gpt-4o",
        outcome="failed" if is_failed else "succeeded",
        cause="timeout" if is_failed else "",
        latency_ms=700,
        prompt_tokens=100,
        completion_tokens=50,
        cost_usd=Decimal(cost_usd),
        started_at=moment,
    )
    end_job(job_id=opened.job_id, team_pk=tenant.team_pk, status=status, metadata={}, error_message="", actor="test")
    Job.objects.filter(pk=opened.job_id).update(created_at=moment)
    Call.objects.filter(pk=call.pk).update(created_at=moment)


@pytest.fixture
def superuser(db: None) -> AdminClient:
    return AdminClient()


@pytest.fixture
def world(tenant: Tenant) -> list[Tenant]:
    """A team with two completed jobs and a failed one, and another with one."""
    other = make_tenant("b")
    make_job(tenant)
    make_job(tenant)
    make_job(tenant, status="failed")
    make_job(other, cost_usd="5")
    make_job(tenant, days_ago=2)
    refresh_rollups()
    return [tenant, other]


def board_of(scope: Scope, days: int = 2) -> Dashboard:
    return read_dashboard(scope=scope, span=Span(today() - timedelta(days=days - 1), today()))


def test_the_figures_are_those_of_the_span_beside_those_before(world: list[Tenant]) -> None:
    board = board_of(Scope())
    assert (board.now.jobs, board.now.completed, board.now.failed) == (4, 3, 1)
    assert board.now.success_percent == 75
    assert board.now.cost_usd == Decimal("5.06")
    assert board.now.tokens == 600
    assert 700 < (board.now.p95_ms or 0) <= 1000
    assert board.before.jobs == 1
    # The ledger has no past: all five were charged or not today.
    assert board.now.credits_used == 4
    assert board.now.credits_left == 16
    assert board.before.credits_left == 0
    assert board.now.margin_usd == Decimal("0.4") - Decimal("5.06")
    assert board.jobs[today(), "failed"] == 1
    assert board.costs_usd[today(), "gpt-4o"] == Decimal("5.06")
    assert dict(board.causes) == {"timeout": 1}
    assert board.top_teams == [("team_a", 3), ("team_b", 1)]
    assert board.top_job_types == [("type-team_a", 3), ("type-team_b", 1)]


def test_a_team_and_an_organization_have_figures_of_their_own(world: list[Tenant]) -> None:
    team = board_of(Scope(team_pk=world[1].team_pk))
    assert (team.now.jobs, team.now.cost_usd, team.now.credits_left) == (1, Decimal(5), 9)
    pk = Job.objects.filter(team_id=world[0].team_pk).values_list("team__organization_id", flat=True)[0]
    organization = board_of(Scope(organization_pk=pk))
    assert (organization.now.jobs, organization.now.credits_left) == (3, 7)
    assert organization.top_teams == [("team_a", 3)]


def test_the_page_takes_few_queries_whatever_it_shows(world: list[Tenant], superuser: AdminClient) -> None:
    for query in ({}, {"range": "90", "team": "team_a"}, {"organization": "org_a"}):
        assert superuser.queries("index", **query) <= MOST_QUERIES
    viewer = AdminClient(["jobs.view_job"], name="viewer")
    assert viewer.queries("index", organization="org_a", team="team_a") <= MOST_QUERIES


def test_who_may_not_read_jobs_sees_no_figures(world: list[Tenant]) -> None:
    page = AdminClient(["tenancy.view_organization"], name="viewer").html("index")
    assert "Success rate" not in page
    assert "Organizations" in page


@pytest.mark.parametrize(
    "query",
    [
        {"range": "everything"},
        {"range": "custom"},
        {"range": "custom", "from": "2026-02-30", "to": "x"},
        {"range": "custom", "from": "2026-03-02", "to": "2026-03-01"},
        {"range": "custom", "from": "0001-01-01", "to": "2026-03-01"},
        {"range": "custom", "from": "9999-12-31", "to": "9999-12-31"},
        {"organization": "nobody"},
        {"team": "a\0b"},
        {"team": "<script>alert(1)</script>" * 20},
        {"team": "team_b", "organization": "org_a"},
    ],
)
def test_filters_that_make_no_sense_are_said_and_left_out(
    query: dict[str, str], world: list[Tenant], superuser: AdminClient
) -> None:
    filters = parse_filters(query, today=TODAY)
    assert len(filters.problems) == 1
    assert filters.team is None
    assert filters.span == Span(TODAY - timedelta(days=29), TODAY)
    page = superuser.html("index", **query)
    assert 'role="alert"' in page
    assert "<script>alert" not in page


def test_a_range_that_has_a_name_is_called_by_it(db: None) -> None:
    query = {"range": "custom", "from": "2026-03-25", "to": "2026-04-30"}
    filters = parse_filters(query, today=TODAY)
    assert (filters.range, filters.span, filters.problems) == ("7", Span(date(2026, 3, 25), TODAY), [])
    assert filters.span.before == Span(date(2026, 3, 18), date(2026, 3, 24))
    assert parse_filters({"range": "today"}, today=TODAY).span == Span(TODAY, TODAY)


def test_cards_say_which_way_it_went(world: list[Tenant]) -> None:
    found = {card.title: card for card in cards(board_of(Scope()))}
    assert (found["Jobs"].value, found["Jobs"].direction, found["Jobs"].change) == ("4", "up", "+300.0 %")
    assert (found["Success rate"].value, found["Success rate"].verdict) == ("75.0 %", "bad")
    assert (found["Cost"].value, found["Cost"].verdict) == ("5.06 USD", "bad")
    assert found["Credits used"].change == "from 0"
    assert {card.title for card in found.values()} >= {"p95 latency", "Tokens", "Margin", "Credits left"}


def test_charts_are_in_attributes_and_no_script_is_in_the_page(world: list[Tenant], superuser: AdminClient) -> None:
    page = superuser.html("index")
    assert page.count('class="chart"') == 7
    for attributes in re.findall(r"<script\b([^>]*)>", page):
        assert "src=" in attributes or 'type="application/json"' in attributes, attributes
    assert not re.search(r"<[^>]+\son[a-z]+=", page)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)


def attention_of(page: str) -> list[tuple[str, str]]:
    part = page[page.index("Needs attention") : page.index('class="chart"')]
    found = re.findall(r'<a href="([^"]+)".*?<span>([^<]+)</span>', part, re.DOTALL)
    return [(html.unescape(url), html.unescape(text)) for url, text in found]


def test_what_needs_attention_leads_to_where_it_is_solved(world: list[Tenant], superuser: AdminClient) -> None:
    team = Job.objects.filter(team_id=world[0].team_pk).select_related("team__organization")[0].team
    long_ago = timezone.now() - timedelta(hours=1)
    make_job(world[0])
    Job.objects.create(team=team, job_type="stuck", expires_at=long_ago)
    Call.objects.create(job=Job.objects.get(job_type="stuck"), team=team, model_group="g", deadline_at=long_ago)
    found = {"proxy_team_id": "t", "subject": "s", "last_seen_at": long_ago}
    ProxyDrift.objects.create(team=team, kind="key_foreign", **found)
    endpoint = create_endpoint(owner=team, url="https://8.8.8.8/", event_types=[], description="")
    WebhookEndpoint.objects.filter(pk=endpoint.row.pk).update(state="disabled", disabled_reason="gone")
    subjects = {Alert.Rule.WEBHOOK_DISABLED: str(endpoint.row.pk), Alert.Rule.MODEL_FAILING: "gpt-4o"}
    for rule in Alert.Rule:
        about_models = rule in (Alert.Rule.MODEL_FAILING, Alert.Rule.BOOKS_BROKEN)
        finding = Finding(subjects.get(rule, team.team_id), "50", team_pk=None if about_models else team.pk)
        open_alert(rule=rule, finding=finding)
    items = attention_of(superuser.html("index"))
    texts = " ".join(text for _, text in items)
    assert len(items) == len(Alert.Rule) + 4
    for part in ("gpt-4o", "The books are broken", "1 jobs are past", "1 calls are past", "1 differences", "1 webhook"):
        assert part in texts
    client = superuser._client
    for url, text in items:
        response = client.get(url)
        assert response.status_code == 200, (url, text)
    mine = attention_of(superuser.html("index", team="team_b"))
    assert mine == []


def test_a_new_installation_says_what_to_do_next(superuser: AdminClient) -> None:
    page = superuser.html("index")
    for part in ("First steps", "Create an organization", "Create a model group", "Create a team", "/health"):
        assert part in page
    assert 'href="/admin/tenancy/organization/create/"' in page
    assert "(done)" not in page
    make_tenant("a")
    assert superuser.html("index").count("(done)") == 3
    assert "Nothing needs attention" in page


def test_the_steps_are_gone_once_there_are_jobs(world: list[Tenant], superuser: AdminClient) -> None:
    assert "First steps" not in superuser.html("index")


def test_the_style_sheet_is_found() -> None:
    assert finders.find("console/dashboard.css")
