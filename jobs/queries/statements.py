"""A period's statement: from the opening balance, by every entry of the ledger, to the closing one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from jobs.queries.usage import Period
from tenancy.models import Team


@dataclass(frozen=True)
class Line:
    """One line: `credits` are signed whole credits, of `count` entries. `day` None: of the whole period."""

    section: str
    text: str
    day: date | None
    count: int
    credits: int


@dataclass(frozen=True)
class TeamStatement:
    """Opening balance + the lines' credits = closing balance, in whole credits."""

    team_id: str
    opening: int
    lines: Sequence[Line]

    @property
    def closing(self) -> int:
        """What remained at the end of the period."""
        return self.opening + sum(line.credits for line in self.lines)


@dataclass(frozen=True)
class Statement:
    """Of one team, or of all teams of an organization."""

    subject: str
    period: Period
    teams: Sequence[TeamStatement]

    @property
    def opening(self) -> int:
        """Of all teams together."""
        return sum(team.opening for team in self.teams)

    @property
    def closing(self) -> int:
        """Of all teams together."""
        return sum(team.closing for team in self.teams)


#: What the entries of a period are called. Jobs are summed up by their type, everything else is a line each.
_LINES = """
    SELECT e.account_id,
           CASE e.kind WHEN 'allocation' THEN 'grant' WHEN 'deduction' THEN 'jobs' ELSE e.kind END AS section,
           CASE e.kind WHEN 'deduction' THEN COALESCE(j.job_type, '(unknown)')
                       ELSE concat_ws(': ', e.grant_kind, NULLIF(e.reason, '')) END AS text,
           CASE WHEN e.kind <> 'deduction' THEN (e.created_at AT TIME ZONE 'UTC')::date END AS day,
           COUNT(*), SUM(e.amount)::bigint, MIN(e.sequence) AS first
    FROM billing_ledgerentry e
    LEFT JOIN jobs_job j ON j.id = e.job_id AND e.kind = 'deduction'
    WHERE e.account_id = ANY(%(teams)s) AND e.created_at >= %(start)s AND e.created_at < %(end)s
    GROUP BY 1, 2, 3, 4, CASE WHEN e.kind <> 'deduction' THEN e.id END
    ORDER BY 1, MIN(array_position(ARRAY['allocation', 'deduction', 'expiry', 'adjustment'], e.kind::text)), day, first
"""
_OPENING = """
    SELECT account_id, SUM(amount)::bigint FROM billing_ledgerentry
    WHERE account_id = ANY(%(teams)s) AND created_at < %(start)s GROUP BY account_id
"""


def team_statement(*, team_pk: int, team_id: str, period: Period) -> Statement:
    """One team's statement."""
    return _statement(team_id, Team.objects.filter(pk=team_pk), period)


def organization_statement(*, organization_pk: int, organization_id: str, period: Period) -> Statement:
    """The statement of all teams of an organization, by team."""
    return _statement(organization_id, Team.objects.filter(organization_id=organization_pk), period)


def _statement(subject: str, teams: QuerySet[Team], period: Period) -> Statement:
    names = dict(teams.order_by("team_id").values_list("pk", "team_id"))
    parameters: dict[str, Any] = {"teams": list(names), "start": period.start, "end": period.end}
    with connection.cursor() as cursor:
        cursor.execute(_OPENING, parameters)
        opening = dict(cursor.fetchall())
        cursor.execute(_LINES, parameters)
        lines: dict[int, list[Line]] = {pk: [] for pk in names}
        for account, section, text, day, count, amount, _ in cursor.fetchall():
            lines[account].append(Line(section, text, day, count, amount))
    return Statement(subject, period, [TeamStatement(names[pk], opening.get(pk, 0), lines[pk]) for pk in names])
