"""Pages about organizations and teams that need to know of jobs: their usage and their statements."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from billing.admin.panels import Table, table
from billing.queries.balances import budget_of
from config.foundation.errors import InvalidInput
from jobs.queries.statement_texts import as_csv, as_html
from jobs.queries.statements import Statement, organization_statement, team_statement
from jobs.queries.usage import Period, Totals, Usage, organization_usage, parse_period, team_usage
from tenancy.models import Organization, Team

View = Callable[..., HttpResponse]
#: Rows of a table of usage.
MAX_ROWS = 50


def _for(permission: str) -> Callable[[View], View]:
    """A page of the console for those with the permission, which only reads; a wrong period is answered with 400."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, pk: int) -> HttpResponse:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            try:
                return view(request, pk, parse_period(request.GET.get("period"), now=timezone.now()))
            except InvalidInput as error:
                return HttpResponseBadRequest(str(error), content_type="text/plain")

        return require_safe(admin.site.admin_view(checked))

    return decorate


@_for("jobs.view_job")
def usage_of_team(request: HttpRequest, pk: int, period: Period) -> HttpResponse:
    """Part of the team's page."""
    team = get_object_or_404(Team, pk=pk)
    spent = ("Spent in all (USD)", f"{budget_of(team.pk).spent_usd:,.2f}")
    return _usage(request, team_usage(team_pk=team.pk, period=period), period, [spent])


@_for("jobs.view_job")
def usage_of_organization(request: HttpRequest, pk: int, period: Period) -> HttpResponse:
    """Part of the organization's page."""
    organization = get_object_or_404(Organization, pk=pk)
    usage = organization_usage(organization_pk=organization.pk, period=period)
    return _usage(request, usage, period, [], by_team=_totals("team", usage.teams))


@_for("billing.view_ledgerentry")
def statement_of_team(request: HttpRequest, pk: int, period: Period) -> HttpResponse:
    """As the API's, for who is logged in."""
    team = get_object_or_404(Team, pk=pk)
    return _statement(request, team_statement(team_pk=team.pk, team_id=team.team_id, period=period))


@_for("billing.view_ledgerentry")
def statement_of_organization(request: HttpRequest, pk: int, period: Period) -> HttpResponse:
    """The same for all of its teams."""
    organization = get_object_or_404(Organization, pk=pk)
    statement = organization_statement(
        organization_pk=organization.pk, organization_id=organization.organization_id, period=period
    )
    return _statement(request, statement)


def _usage(
    request: HttpRequest, usage: Usage, period: Period, more: list[tuple[str, str]], **tables: Table
) -> HttpResponse:
    summary = usage.summary
    cards = [
        ("Jobs", f"{summary.total_jobs:,}"),
        ("Completed", f"{summary.successful_jobs:,}"),
        ("Failed", f"{summary.failed_jobs:,}"),
        ("Credits used", f"{usage.credits_used:,}"),
        ("Spent (USD)", f"{summary.total_cost_usd:,.2f}"),
        ("Tokens", f"{summary.total_tokens:,}"),
        *more,
    ]
    by_type = _totals("type", usage.job_types)
    return render(request, "console/usage.html", {"period": period, "cards": cards, "by_type": by_type, **tables})


def _totals(what: str, totals: Mapping[str, Totals]) -> Table:
    largest = sorted(totals.items(), key=lambda item: (-item[1].total_jobs, item[0]))[:MAX_ROWS]
    rows = [
        (
            name,
            one.total_jobs,
            one.successful_jobs,
            one.failed_jobs,
            f"{one.total_cost_usd:,.2f}",
            f"{one.total_tokens:,}",
        )
        for name, one in largest
    ]
    return table([what, "jobs", "completed", "failed", "USD", "tokens"], rows)


def _statement(request: HttpRequest, statement: Statement) -> HttpResponse:
    if request.GET.get("form") != "csv":
        return HttpResponse(as_html(statement))
    headers: dict[str, Any] = {
        "Content-Disposition": f'attachment; filename="statement-{statement.subject}-{statement.period.name}.csv"'
    }
    return HttpResponse(as_csv(statement), content_type="text/csv; charset=utf-8", headers=headers)
