"""manage.py print_statement: a team's or an organization's statement, as CSV or as a page to print."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from config.foundation.errors import DomainError
from jobs.queries.statement_texts import as_csv, as_html
from jobs.queries.statements import Statement, organization_statement, team_statement
from jobs.queries.usage import parse_period
from tenancy.queries import tenants


class Command(BaseCommand):
    """Reads only."""

    help = (
        "Print a statement of credits: opening balance, grants, jobs by type, expiries, corrections, closing balance."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose, when, how."""
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--team")
        whose.add_argument("--organization")
        parser.add_argument("--period", help="YYYY-MM or YYYY-MM-DD (default: this month)")
        parser.add_argument("--html", action="store_true", help="a page to print, instead of CSV")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it. Exit code 1 where there is no such team or period."""
        try:
            statement = self._statement(options)
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(as_html(statement) if options["html"] else as_csv(statement), ending="")

    def _statement(self, options: dict[str, Any]) -> Statement:
        period = parse_period(options["period"], now=timezone.now())
        if options["team"]:
            team = tenants.get_team(options["team"])
            return team_statement(team_pk=team.pk, team_id=team.team_id, period=period)
        organization = tenants.get_organization(options["organization"])
        return organization_statement(
            organization_pk=organization.pk, organization_id=organization.organization_id, period=period
        )
