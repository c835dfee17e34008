"""Refusals about tenants and keys. The texts are the guide's."""

from config.foundation.errors import DomainError


class NotFound(DomainError):
    """There is no such thing, or none that the caller may know of."""

    code = "not_found"


class OrganizationNotFound(NotFound):
    """No organization has this id."""

    def __init__(self, organization_id: str) -> None:
        super().__init__(f"Organization '{organization_id}' not found")


class TeamNotFound(NotFound):
    """No team has this id."""

    def __init__(self, team_id: str) -> None:
        super().__init__(f"Team '{team_id}' not found")


class VirtualKeyNotFound(NotFound):
    """The team has no such key."""

    def __init__(self) -> None:
        super().__init__("Key not found")


class TeamUserNotFound(NotFound):
    """The team has no such user. His name is not repeated: he may have been erased."""

    def __init__(self) -> None:
        super().__init__("User not found")


class TeamUserErased(DomainError):
    """Nothing of an erased user can be changed."""

    code = "user_erased"

    def __init__(self) -> None:
        super().__init__("This user is erased, or about to be")


class TeamUserBlocked(DomainError):
    """His jobs and calls are refused."""

    code = "user_blocked"

    def __init__(self) -> None:
        super().__init__("This user is blocked")


class UserLimitReached(DomainError):
    """The user has used what he may in a calendar month."""

    code = "user_limit_reached"

    def __init__(self, *, limit: str) -> None:
        super().__init__(f"This user's limit of {limit} per month is reached")


class WebhookEndpointNotFound(NotFound):
    """No endpoint has this id, or it is another team's."""

    def __init__(self) -> None:
        super().__init__("Webhook endpoint not found")


class WebhookEventNotFound(NotFound):
    """The endpoint was never sent such an event, or it was too long ago."""

    def __init__(self) -> None:
        super().__init__("Event not found among the endpoint's deliveries")


class WebhookEndpointDisabled(DomainError):
    """Nothing is sent to a disabled endpoint."""

    code = "webhook_endpoint_disabled"

    def __init__(self) -> None:
        super().__init__("The endpoint is disabled; enable it first")


class TooManyWebhookEndpoints(DomainError):
    """The owner has as many as one may have."""

    code = "too_many_webhook_endpoints"

    def __init__(self, most: int) -> None:
        super().__init__(f"There are {most} endpoints already, which is the most")


class OrganizationExists(DomainError):
    """The id is taken."""

    code = "organization_exists"

    def __init__(self, organization_id: str) -> None:
        super().__init__(f"Organization with ID '{organization_id}' already exists")


class TeamExists(DomainError):
    """The id is taken."""

    code = "team_exists"

    def __init__(self, team_id: str) -> None:
        super().__init__(f"Team '{team_id}' already exists")


class KeyAlreadyRevoked(DomainError):
    """A revoked or already replaced key cannot be rotated."""

    code = "key_already_revoked"

    def __init__(self) -> None:
        super().__init__("Key is already revoked or replaced")


class MissingCredentials(DomainError):
    """No key came with the request."""

    code = "missing_credentials"

    def __init__(self) -> None:
        super().__init__("Missing Authorization header. Expected: 'Authorization: Bearer sk-xxx...'")


class InvalidApiKey(DomainError):
    """The key is unknown, revoked, expired, or not in the form that the header wants."""

    code = "invalid_api_key"

    def __init__(self) -> None:
        super().__init__("Invalid API key")


class WrongTeam(DomainError):
    """The key is another team's. The text is the same whether or not the named team exists."""

    code = "wrong_team"

    def __init__(self, team_id: str) -> None:
        super().__init__(f"API key does not belong to team '{team_id}'")


class TeamSuspended(DomainError):
    """The team, or its organization, is suspended."""

    code = "team_suspended"

    def __init__(self, team_id: str) -> None:
        super().__init__(f"Team '{team_id}' is suspended")


class OperatorRequired(DomainError):
    """A team's key came where only an operator may act."""

    code = "operator_required"

    def __init__(self) -> None:
        super().__init__("This call needs an operator key")


class InsufficientScope(DomainError):
    """The operator key is valid but not meant for this."""

    code = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This operator key lacks the scope '{scope}'")


class KeyLacksScope(InsufficientScope):
    """The team's key is valid but not meant for this. Any of the named scopes would do."""

    def __init__(self, *scopes: str) -> None:
        DomainError.__init__(self, f"This key lacks the scope {' or '.join(repr(scope) for scope in scopes)}")


class AddressNotAllowed(DomainError):
    """The key may not be used from where the request came."""

    code = "address_not_allowed"

    def __init__(self) -> None:
        super().__init__("This key may not be used from this address")


class ModelNotAllowed(DomainError):
    """The key is restricted to other models and model groups."""

    code = "model_not_allowed"

    def __init__(self, name: str) -> None:
        super().__init__(f"This key may not use '{name}'")


class IdempotencyKeyReused(DomainError):
    """The same Idempotency-Key came with another request."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used with a different request")


class IdempotencyKeyInFlight(DomainError):
    """The first request with this Idempotency-Key has not ended yet."""

    code = "idempotency_key_in_flight"
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is still in progress")
