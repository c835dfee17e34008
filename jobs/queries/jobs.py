"""Jobs by id and by team."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import DecimalField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from billing.models import CreditHold
from config.foundation import async_database
from config.foundation.errors import InvalidInput
from jobs.errors import JobNotFound
from jobs.models import Call, Job
from tenancy.queries.principals import TeamRef


def with_hold(jobs: QuerySet[Job]) -> QuerySet[Any]:
    """Jobs with `hold_state` and `hold_balance_after`. Holds know jobs by id only, so the ORM has no join for it."""
    hold = CreditHold.objects.filter(job_id=OuterRef("pk"))
    return jobs.annotate(
        hold_state=Subquery(hold.values("state")[:1]),
        hold_balance_after=Subquery(hold.values("balance_after")[:1]),
    )


def with_cost(jobs: QuerySet[Any]) -> QuerySet[Any]:
    """Jobs with `total_cost_usd`, late calls included."""
    costs = Call.objects.filter(job_id=OuterRef("pk")).order_by().values("job_id").annotate(sum=Sum("cost_usd"))
    return jobs.annotate(
        total_cost_usd=Coalesce(
            Subquery(costs.values("sum")), Decimal(0), output_field=DecimalField(max_digits=20, decimal_places=12)
        )
    )


def get_job(*, job_id: UUID, team_pk: int | None) -> Any:
    """A job with its team, hold and cost. `team_pk` None: any team's. Raises JobNotFound."""
    jobs = with_cost(with_hold(Job.objects.filter(id=job_id).select_related("team")))
    job = (jobs if team_pk is None else jobs.filter(team_id=team_pk)).first()
    if job is None:
        raise JobNotFound
    return job


def jobs_of_team(*, team_pk: int, status: str | None = None) -> QuerySet[Job]:
    """A team's jobs, newest first."""
    jobs = Job.objects.filter(team_id=team_pk).order_by("-created_at", "-id")
    return jobs.filter(status=status) if status else jobs


_TEAM_OF_JOB = """
    SELECT t.id AS pk, t.team_id, o.organization_id, t.job_ttl_s, t.max_calls_in_flight, t.requests_per_minute,
           t.tokens_per_minute, t.status = 'suspended' OR o.status = 'suspended' AS is_suspended
    FROM jobs_job j
    JOIN tenancy_team t ON t.id = j.team_id
    JOIN tenancy_organization o ON o.id = t.organization_id
    WHERE j.id = %(job_id)s
"""


async def team_of_job(job_id: UUID) -> TeamRef:
    """Whose job it is, for an operator's call. Raises JobNotFound."""
    row = await async_database.fetch_one(_TEAM_OF_JOB, {"job_id": job_id})
    if row is None:
        raise JobNotFound
    return TeamRef(**row)


def parse_job_id(text: str) -> UUID:
    """A job's id from a path. Raises InvalidInput."""
    return parse_id(text, field="job_id")


def parse_id(text: str, *, field: str) -> UUID:
    """An id from a path, in the form in which it was given out. Raises InvalidInput."""
    try:
        parsed = UUID(text)
    except ValueError:
        raise InvalidInput("must be a UUID", field=field) from None
    if str(parsed) != text.lower():
        raise InvalidInput("must be a UUID", field=field)
    return parsed
