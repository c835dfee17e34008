"""Suspending and resuming teams and organizations: their keys stop at once, and work again."""

from django.db import transaction
from django.utils import timezone

from tenancy.models import Organization, Team
from tenancy.queries.tenants import get_organization, get_team
from tenancy.services.audit import record

_ACTIONS = {"suspended": "suspended", "active": "resumed"}
#: What it was before, given that it has become this.
_BEFORE = {"suspended": "active", "active": "suspended"}


@transaction.atomic
def set_team_status(*, team_id: str, status: str, reason: str, actor: str) -> bool:
    """Make a team "active" or "suspended"; whether that changed anything. Calls that run go on to their end.

    Raises TeamNotFound.
    """
    team = get_team(team_id)
    if not Team.objects.filter(pk=team.pk, status=_BEFORE[status]).update(status=status, updated_at=timezone.now()):
        return False
    record(
        actor=actor,
        action=f"team.{_ACTIONS[status]}",
        subject=team_id,
        organization_pk=team.organization_id,
        team_pk=team.pk,
        before={"status": _BEFORE[status]},
        after={"status": status},
        reason=reason,
    )
    return True


@transaction.atomic
def set_organization_status(*, organization_id: str, status: str, reason: str, actor: str) -> bool:
    """The same for an organization, and so for all of its teams. Raises OrganizationNotFound."""
    organization = get_organization(organization_id)
    organizations = Organization.objects.filter(pk=organization.pk, status=_BEFORE[status])
    if not organizations.update(status=status, updated_at=timezone.now()):
        return False
    record(
        actor=actor,
        action=f"organization.{_ACTIONS[status]}",
        subject=organization_id,
        organization_pk=organization.pk,
        before={"status": _BEFORE[status]},
        after={"status": status},
        reason=reason,
    )
    return True
