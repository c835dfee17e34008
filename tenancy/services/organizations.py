"""Opening organizations and teams."""

from typing import Any

from django.db import IntegrityError, transaction

from config.foundation.constraints import violated
from tenancy.errors import OrganizationExists, TeamExists
from tenancy.models import Organization, Team
from tenancy.queries.tenants import get_organization
from tenancy.services import audit


@transaction.atomic
def create_organization(
    *, organization_id: str, name: str, metadata: dict[str, Any], actor: str = audit.SYSTEM
) -> Organization:
    """Raises OrganizationExists."""
    try:
        with transaction.atomic():
            organization = Organization.objects.create(organization_id=organization_id, name=name, metadata=metadata)
    except IntegrityError as error:
        if violated(error) == "organization_id_is_unique":
            raise OrganizationExists(organization_id) from error
        raise
    audit.record(
        actor=actor,
        action="organization.created",
        subject=organization_id,
        organization_pk=organization.pk,
        after={"name": name, "metadata": metadata},
    )
    return organization


@transaction.atomic
def create_team(
    *, organization_id: str, team_id: str, team_alias: str, metadata: dict[str, Any], actor: str = audit.SYSTEM
) -> Team:
    """A bare team: `billing.services.teams.open_team` adds account, key and groups.

    Raises OrganizationNotFound, TeamExists.
    """
    organization = get_organization(organization_id)
    try:
        with transaction.atomic():
            team = Team.objects.create(
                organization=organization, team_id=team_id, team_alias=team_alias, metadata=metadata
            )
    except IntegrityError as error:
        if violated(error) == "team_id_is_unique":
            raise TeamExists(team_id) from error
        raise
    audit.record(
        actor=actor,
        action="team.created",
        subject=team_id,
        organization_pk=organization.pk,
        team_pk=team.pk,
        after={"team_alias": team_alias, "metadata": metadata},
    )
    return team
