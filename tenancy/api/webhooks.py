"""Webhook endpoints over HTTP: a team's own for its key, anybody's for operators."""

from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from config.foundation.api.paging import read_page
from config.foundation.errors import InvalidInput
from config.foundation.limits import check_client_id
from tenancy.api.base import ApiView
from tenancy.api.idempotency import idempotent
from tenancy.api.permissions import AnyKey, actor_of, principal_of
from tenancy.api.webhook_serializers import (
    DeletedWebhookOut,
    NewWebhookOut,
    ReplayedOut,
    ReplayIn,
    RotateSecretIn,
    WebhookChangesIn,
    WebhookDeliveriesOut,
    WebhookDeliveryOut,
    WebhookIn,
    WebhookListOut,
    WebhookOut,
)
from tenancy.models import Organization, Team, WebhookDelivery
from tenancy.queries import tenants
from tenancy.queries import webhooks as queries
from tenancy.services.webhooks import endpoints, outbox

OWNERS = [OpenApiParameter("team_id", str), OpenApiParameter("organization_id", str)]
STATES = [OpenApiParameter("state", str, enum=WebhookDelivery.State.values)]


class WebhookView(ApiView):
    """What all of them share: whose endpoints the caller may touch."""

    permission_classes = [AnyKey]

    def check_permissions(self, request: Request) -> None:
        """Who makes an endpoint gets to know what is sent to it: that is reading, whatever else it is."""
        super().check_permissions(request)
        principal_of(request).require_key_scope("read")

    def team_pk(self, request: Request) -> int | None:
        """The team whose endpoints these must be, None for an operator. Raises InsufficientScope."""
        principal = principal_of(request)
        if principal.team is None:
            principal.require_scope(self.scope_of(request))
            return None
        return principal.team.pk

    def owner(self, request: Request, team_id: str | None, organization_id: str | None) -> Team | Organization:
        """The team or organization that is named; a team's key need not name its own.

        Raises InvalidInput, WrongTeam, OperatorRequired, InsufficientScope, TeamNotFound, OrganizationNotFound.
        """
        principal = principal_of(request)
        if organization_id is not None:
            principal.require_scope(self.scope_of(request))
            if team_id is not None:
                raise InvalidInput("goes without organization_id", field="team_id")
            return tenants.get_organization(organization_id)
        if team_id is None and principal.team is not None:
            team_id = principal.team.team_id
        if team_id is None:
            raise InvalidInput("or organization_id is required", field="team_id")
        principal.require_team(team_id, scope=self.scope_of(request))
        return tenants.get_team(team_id)


class WebhooksView(WebhookView):
    """/api/webhooks"""

    @extend_schema(operation_id="list_webhooks", parameters=OWNERS, responses=WebhookListOut)
    def get(self, request: Request) -> Response:
        """List the endpoints of a team, or of an organization."""
        named = {name: request.GET.get(name) for name in ("team_id", "organization_id")}
        for name, value in named.items():
            if value is not None:
                check_client_id(value, field=name)
        owner = self.owner(request, **named)
        return Response(WebhookListOut({"webhooks": queries.endpoints_of(owner)}).data)

    @extend_schema(operation_id="create_webhook", request=WebhookIn, responses=NewWebhookOut)
    @idempotent
    def post(self, request: Request) -> Response:
        """Make an endpoint. Its secret is shown this once."""
        data = WebhookIn(data=request.data)
        data.is_valid(raise_exception=True)
        fields = dict(data.validated_data)
        owner = self.owner(request, fields.pop("team_id", None), fields.pop("organization_id", None))
        return Response(_with_secret(endpoints.create_endpoint(owner=owner, actor=actor_of(request), **fields)))


class WebhookDetailView(WebhookView):
    """/api/webhooks/{endpoint_id}"""

    @extend_schema(operation_id="get_webhook", responses=WebhookOut)
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        """Get an endpoint."""
        return Response(WebhookOut(queries.endpoint_of(endpoint_id, team_pk=self.team_pk(request))).data)

    @extend_schema(operation_id="update_webhook", request=WebhookChangesIn, responses=WebhookOut)
    def patch(self, request: Request, endpoint_id: UUID) -> Response:
        """Change an endpoint, disable it, or enable it again."""
        team_pk = self.team_pk(request)
        data = WebhookChangesIn(data=request.data)
        data.is_valid(raise_exception=True)
        changes = data.validated_data
        endpoint = endpoints.update_endpoint(
            endpoint_id=endpoint_id, team_pk=team_pk, actor=actor_of(request), **changes
        )
        return Response(WebhookOut(endpoint).data)

    @extend_schema(operation_id="delete_webhook", responses={200: DeletedWebhookOut})
    def delete(self, request: Request, endpoint_id: UUID) -> Response:
        """Delete an endpoint, with what waits for it."""
        endpoints.delete_endpoint(endpoint_id=endpoint_id, team_pk=self.team_pk(request), actor=actor_of(request))
        return Response({"endpoint_id": endpoint_id, "deleted": True})


class WebhookRotateView(WebhookView):
    """POST /api/webhooks/{endpoint_id}/rotate"""

    @extend_schema(operation_id="rotate_webhook_secret", request=RotateSecretIn, responses=NewWebhookOut)
    @idempotent
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Replace the secret; for a grace period, events are signed with both."""
        team_pk = self.team_pk(request)
        data = RotateSecretIn(data=request.data)
        data.is_valid(raise_exception=True)
        grace_s = data.validated_data["grace_seconds"]
        new = endpoints.rotate_secret(
            endpoint_id=endpoint_id, team_pk=team_pk, grace_s=grace_s, actor=actor_of(request)
        )
        return Response(_with_secret(new))


class WebhookTestView(WebhookView):
    """POST /api/webhooks/{endpoint_id}/test"""

    @extend_schema(operation_id="test_webhook", request=None, responses=WebhookDeliveryOut)
    @idempotent
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Send a `webhook.test` event."""
        delivery = outbox.send_test(endpoint_id=endpoint_id, team_pk=self.team_pk(request))
        return Response(WebhookDeliveryOut(delivery).data)


class WebhookReplayView(WebhookView):
    """POST /api/webhooks/{endpoint_id}/replay"""

    @extend_schema(operation_id="replay_webhook", request=ReplayIn, responses=ReplayedOut)
    @idempotent
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Deliver one event once more, or all that failed since a time."""
        team_pk = self.team_pk(request)
        data = ReplayIn(data=request.data)
        data.is_valid(raise_exception=True)
        if "event_id" in data.validated_data:
            event_id = data.validated_data["event_id"]
            replayed = outbox.replay_event(endpoint_id=endpoint_id, team_pk=team_pk, event_id=event_id)
        else:
            since = data.validated_data["failed_since"]
            replayed = outbox.replay_failed(endpoint_id=endpoint_id, team_pk=team_pk, since=since)
        return Response({"replayed": replayed})


class WebhookDeliveriesView(WebhookView):
    """GET /api/webhooks/{endpoint_id}/deliveries"""

    @extend_schema(operation_id="list_webhook_deliveries", parameters=STATES, responses=WebhookDeliveriesOut)
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        """List what was and is to be delivered to an endpoint, newest first."""
        endpoint = queries.endpoint_of(endpoint_id, team_pk=self.team_pk(request))
        state = request.GET.get("state")
        if state is not None and state not in WebhookDelivery.State.values:
            raise InvalidInput(f"must be one of {', '.join(WebhookDelivery.State.values)}", field="state")
        page = read_page(request, default_limit=100)
        found = queries.deliveries_of(endpoint, state=state)
        total = found.count()
        body = {
            "endpoint_id": endpoint.id,
            "total_deliveries": total,
            "deliveries": found[page.offset : page.offset + page.limit],
        }
        return Response(WebhookDeliveriesOut(body).data, headers=page.links(request, total))


def _with_secret(new: endpoints.NewSecret) -> dict[str, object]:
    return {**WebhookOut(new.row).data, "secret": new.secret}
