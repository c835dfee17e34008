"""Suspending and resuming teams and organizations: their keys stop at once, and work again."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
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
    about = {"subject": team_id, "organization_pk": team.organization_id, "team_pk": team.pk}
    return _set(Team.objects.filter(pk=team.pk), "team", status, reason=reason, actor=actor, **about)


@transaction.atomic
def set_organization_status(*, organization_id: str, status: str, reason: str, actor: str) -> bool:
    """The same for an organization, and so for all of its teams. Raises OrganizationNotFound."""
    organization = get_organization(organization_id)
    about = {"subject": organization_id, "organization_pk": organization.pk}
    return _set(
        Organization.objects.filter(pk=organization.pk), "organization", status, reason=reason, actor=actor, **about
    )


def _set(row: QuerySet[Any], word: str, status: str, **entry: Any) -> bool:
    """As a compare-and-swap: what is so already is no change, and writes nothing."""
    before = {"status": _BEFORE[status]}
    if not row.filter(**before).update(status=status, updated_at=timezone.now()):
        return False
    record(action=f"{word}.{_ACTIONS[status]}", before=before, after={"status": status}, **entry)
    return True
