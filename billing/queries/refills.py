"""Which teams a refill is for, and which periods one is due for."""

from datetime import UTC, date, datetime, timedelta

from django.db.models import F, QuerySet

from billing.errors import RefillPolicyNotFound
from billing.models import RefillPolicy
from tenancy.models import Team


def policy_of(team_pk: int, team_id: str) -> RefillPolicy:
    """A team's policy with its account. Raises RefillPolicyNotFound."""
    try:
        return RefillPolicy.objects.select_related("account").get(pk=team_pk)
    except RefillPolicy.DoesNotExist:
        raise RefillPolicyNotFound(team_id) from None


def period_of(every: str, moment: datetime) -> date:
    """The first day (UTC) of the day, week or month that the moment falls into."""
    day = moment.astimezone(UTC).date()
    if every == RefillPolicy.Every.WEEK:
        return day - timedelta(days=day.weekday())
    if every == RefillPolicy.Every.MONTH:
        return day.replace(day=1)
    return day


def following(every: str, period: date) -> date:
    """The period after one."""
    if every == RefillPolicy.Every.MONTH:
        return (period + timedelta(days=32)).replace(day=1)
    return period + timedelta(days=7 if every == RefillPolicy.Every.WEEK else 1)


def periods_due(every: str, *, first: datetime, last: date | None, now: datetime) -> list[date]:
    """The periods from the one of `first` to the current one that come after `last`, the last one refilled."""
    period, current = period_of(every, first), period_of(every, now)
    due = []
    while period <= current:
        if last is None or period > last:
            due.append(period)
        period = following(every, period)
    return due


def teams_to_refill(
    *, organization_id: str | None = None, group_name: str | None = None, below: int | None = None
) -> QuerySet[Team]:
    """Teams by id: of an organization, with a model group, with fewer than so many credits available; or all."""
    teams = Team.objects.order_by("team_id")
    if organization_id is not None:
        teams = teams.filter(organization__organization_id=organization_id)
    if group_name is not None:
        teams = teams.filter(group_assignments__group__group_name=group_name)
    if below is not None:
        account = "credit_account__"
        teams = teams.filter(credit_account__allocated__lt=F(f"{account}used") + F(f"{account}held") + below)
    return teams
