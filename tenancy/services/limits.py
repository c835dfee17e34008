"""A team's own limits to its calls."""

from collections.abc import Mapping

from django.db import transaction
from django.utils import timezone

from tenancy.errors import TeamNotFound
from tenancy.models import Team
from tenancy.services import audit

#: Columns of the team's row, each a positive number, or null for the default.
LIMITS = (
    "requests_per_minute",
    "tokens_per_minute",
    "max_calls_in_flight",
    "user_requests_per_minute",
    "user_tokens_per_minute",
)


@transaction.atomic
def set_team_limits(*, team_id: str, limits: Mapping[str, int | None], actor: str, reason: str = "") -> Team:
    """Set some of LIMITS; the others stay. In force for calls from now on. Raises TeamNotFound."""
    team = Team.objects.select_for_update(of=("self",), no_key=True).filter(team_id=team_id).first()
    if team is None:
        raise TeamNotFound(team_id)
    before, after = audit.changes(audit.fields_of(team, LIMITS), limits)
    if not after:
        return team
    for name, value in after.items():
        setattr(team, name, value)
    team.updated_at = timezone.now()
    team.save(update_fields=[*after, "updated_at"])
    audit.record(
        actor=actor,
        action="team.limits_changed",
        subject=team_id,
        organization_pk=team.organization_id,
        team_pk=team.pk,
        before=before,
        after=after,
        reason=reason,
    )
    return team
