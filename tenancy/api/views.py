"""Organizations and keys over HTTP."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from config.foundation.limits import check_client_id
from tenancy.api.base import ApiView
from tenancy.api.idempotency import idempotent
from tenancy.api.permissions import actor_of
from tenancy.api.serializers import (
    KeyTermsIn,
    NewVirtualKeyOut,
    OrganizationIn,
    OrganizationOut,
    RotateKeyIn,
    VirtualKeyIn,
    VirtualKeyListOut,
    VirtualKeyOut,
)
from tenancy.queries import tenants
from tenancy.services import keys, organizations


class OrganizationCreateView(ApiView):
    """POST /api/organizations/create"""

    open_methods = frozenset({"POST"})

    @extend_schema(operation_id="create_organization", request=OrganizationIn, responses=OrganizationOut)
    @idempotent
    def post(self, request: Request) -> Response:
        """Create an organization."""
        data = OrganizationIn(data=request.data)
        data.is_valid(raise_exception=True)
        organization = organizations.create_organization(**data.validated_data, actor=actor_of(request))
        return Response(OrganizationOut(organization).data)


class OrganizationView(ApiView):
    """GET /api/organizations/{organization_id}"""

    open_methods = frozenset({"GET"})

    @extend_schema(operation_id="get_organization", responses=OrganizationOut)
    def get(self, request: Request, organization_id: str) -> Response:
        """Get an organization."""
        check_client_id(organization_id, field="organization_id")
        return Response(OrganizationOut(tenants.get_organization(organization_id)).data)


class TeamKeysView(ApiView):
    """/api/teams/{team_id}/keys"""

    @extend_schema(operation_id="list_keys", responses=VirtualKeyListOut)
    def get(self, request: Request, team_id: str) -> Response:
        """List a team's virtual keys, revoked ones included."""
        team = tenants.get_team(check_client_id(team_id, field="team_id"))
        rows = tenants.virtual_keys(team_id=team.team_id)
        return Response(VirtualKeyListOut({"team_id": team.team_id, "keys": rows}).data)

    @extend_schema(operation_id="create_key", request=VirtualKeyIn, responses=NewVirtualKeyOut)
    @idempotent
    def post(self, request: Request, team_id: str) -> Response:
        """Make a further virtual key for a team."""
        team = tenants.get_team(check_client_id(team_id, field="team_id"))
        data = VirtualKeyIn(data=request.data)
        data.is_valid(raise_exception=True)
        terms = dict(data.validated_data)
        name = terms.pop("name")
        return Response(_new_key(keys.create_virtual_key(team=team, name=name, terms=terms, actor=actor_of(request))))


class KeyView(ApiView):
    """/api/teams/{team_id}/keys/{key_id}"""

    @extend_schema(operation_id="change_key", request=KeyTermsIn, responses=VirtualKeyOut)
    def patch(self, request: Request, team_id: str, key_id: UUID) -> Response:
        """Change what a virtual key is restricted and limited to, from now on."""
        check_client_id(team_id, field="team_id")
        data = KeyTermsIn(data=request.data)
        data.is_valid(raise_exception=True)
        key = keys.change_virtual_key(
            team_id=team_id, key_id=key_id, terms=data.validated_data, actor=actor_of(request)
        )
        return Response(VirtualKeyOut(key).data)


class KeyRotateView(ApiView):
    """POST /api/teams/{team_id}/keys/{key_id}/rotate"""

    @extend_schema(operation_id="rotate_key", request=RotateKeyIn, responses=NewVirtualKeyOut)
    @idempotent
    def post(self, request: Request, team_id: str, key_id: UUID) -> Response:
        """Replace a virtual key; the old one may go on working for a grace period."""
        check_client_id(team_id, field="team_id")
        data = RotateKeyIn(data=request.data)
        data.is_valid(raise_exception=True)
        grace_s = data.validated_data["grace_seconds"]
        new = keys.rotate_virtual_key(team_id=team_id, key_id=key_id, grace_s=grace_s, actor=actor_of(request))
        return Response(_new_key(new))


class KeyRevokeView(ApiView):
    """POST /api/teams/{team_id}/keys/{key_id}/revoke"""

    @extend_schema(operation_id="revoke_key", request=None, responses=VirtualKeyOut)
    def post(self, request: Request, team_id: str, key_id: UUID) -> Response:
        """Stop a virtual key at once. Repeating it changes nothing."""
        check_client_id(team_id, field="team_id")
        key = keys.revoke_virtual_key(team_id=team_id, key_id=key_id, actor=actor_of(request))
        return Response(VirtualKeyOut(key).data)


def _new_key(new: keys.NewVirtualKey) -> dict[str, object]:
    return {**VirtualKeyOut(new.row).data, "virtual_key": new.plaintext}
