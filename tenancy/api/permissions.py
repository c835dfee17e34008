"""Who may call a view. Views say it in a few attributes: see tenancy.api.base.ApiView."""

from typing import Any, cast

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from tenancy.queries.principals import Principal


def principal_of(request: Request) -> Principal:
    """The caller, typed."""
    return cast(Principal, request.user)


def actor_of(request: Request) -> str:
    """The caller, as the ledger and the audit log name it."""
    return principal_of(request).idempotency_scope


class OperatorOnly(BasePermission):
    """An operator with the scope that the view wants for this method."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Raises OperatorRequired, InsufficientScope."""
        principal_of(request).require_scope(view.scope_of(request))
        return True


class AnyKey(BasePermission):
    """Any valid key that is meant for it: the view itself compares the team (Principal.require_team)."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Authentication has already refused everybody else. Raises KeyLacksScope."""
        principal_of(request).require_key_scope(*view.key_scopes_of(request))
        return True
