"""Statements over HTTP: JSON, or what the client's Accept header asks for of CSV and HTML."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import renderers, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from config.foundation.api.renderers import JSONRenderer
from config.foundation.limits import check_client_id
from jobs.api.views import PERIOD_PARAMETER
from jobs.queries.statement_texts import as_csv, as_html
from jobs.queries.statements import Statement, organization_statement, team_statement
from jobs.queries.usage import parse_period
from tenancy.api.base import ApiView
from tenancy.api.permissions import AnyKey, principal_of
from tenancy.queries import tenants


class LineOut(serializers.Serializer):
    """A line: signed credits, of so many entries."""

    section = serializers.CharField()
    text = serializers.CharField()
    day = serializers.DateField(allow_null=True)
    count = serializers.IntegerField()
    credits = serializers.IntegerField()


class TeamStatementOut(serializers.Serializer):
    """One team's: opening balance + lines = closing balance."""

    team_id = serializers.CharField()
    opening_balance = serializers.IntegerField(source="opening")
    lines = LineOut(many=True)
    closing_balance = serializers.IntegerField(source="closing")


class StatementOut(serializers.Serializer):
    """A statement by team."""

    subject = serializers.CharField()
    period = serializers.CharField(source="period.name")
    opening_balance = serializers.IntegerField(source="opening")
    teams = TeamStatementOut(many=True)
    closing_balance = serializers.IntegerField(source="closing")


class StatementJSONRenderer(JSONRenderer):
    """A statement in the API's own form."""

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        """Errors come as they are."""
        return super().render(StatementOut(data).data if isinstance(data, Statement) else data, *args, **kwargs)


class CsvRenderer(renderers.BaseRenderer):
    """One line per line."""

    media_type = "text/csv"
    format = "csv"

    def render(self, data: Any, *_: Any, **__: Any) -> bytes:
        """The file."""
        return as_csv(data).encode()


class HtmlRenderer(renderers.BaseRenderer):
    """A page to print."""

    media_type = "text/html"
    format = "html"

    def render(self, data: Any, *_: Any, **__: Any) -> bytes:
        """The page."""
        return as_html(data).encode()


class StatementView(ApiView):
    """The base of both views: three forms of one answer, and errors always as JSON."""

    renderer_classes = [StatementJSONRenderer, CsvRenderer, HtmlRenderer]

    def handle_exception(self, exc: Exception) -> Response:
        """As JSON, whatever was asked for."""
        self.request.accepted_renderer = JSONRenderer()
        self.request.accepted_media_type = "application/json"
        return super().handle_exception(exc)


class TeamStatementView(StatementView):
    """GET /api/teams/{team_id}/statement"""

    permission_classes = [AnyKey]

    @extend_schema(operation_id="get_team_statement", responses=StatementOut, parameters=[PERIOD_PARAMETER])
    def get(self, request: Request, team_id: str) -> Response:
        """A team's statement of a month or day: JSON, or CSV or a page to print, by the Accept header."""
        team = tenants.team_for(principal_of(request), check_client_id(team_id, field="team_id"), scope="read")
        period = parse_period(request.GET.get("period"), now=timezone.now())
        return Response(team_statement(team_pk=team.pk, team_id=team.team_id, period=period))


class OrganizationStatementView(StatementView):
    """GET /api/organizations/{organization_id}/statement"""

    @extend_schema(operation_id="get_organization_statement", responses=StatementOut, parameters=[PERIOD_PARAMETER])
    def get(self, request: Request, organization_id: str) -> Response:
        """The same for all teams of an organization."""
        organization = tenants.get_organization(check_client_id(organization_id, field="organization_id"))
        period = parse_period(request.GET.get("period"), now=timezone.now())
        statement = organization_statement(
            organization_pk=organization.pk, organization_id=organization.organization_id, period=period
        )
        return Response(statement)
