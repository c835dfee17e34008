"""The base of every error the domain raises on purpose."""

from typing import ClassVar


class DomainError(Exception):
    """A refusal with a text for the client and a stable, machine-readable code.

    It carries no HTTP status: `config.errors` alone maps codes to statuses.
    """

    code: ClassVar[str] = "error"
    #: Seconds after which trying again makes sense, or None where it does not.
    retry_after_s: int | None = None


class InvalidInput(DomainError):
    """The client's input breaks a rule; `errors` lists {"field", "message", "code"} with dotted paths."""

    code = "invalid_request"

    def __init__(self, detail: str, *, field: str | None = None, error_code: str = "invalid") -> None:
        super().__init__(f"{field}: {detail}" if field else detail)
        self.errors = [{"field": field, "message": detail, "code": error_code}] if field else []


class PayloadTooLarge(DomainError):
    """The body is larger than the endpoint takes."""

    code = "payload_too_large"


class DependencyUnavailable(DomainError):
    """PostgreSQL or the broker cannot be reached just now; nothing was done, trying again is safe."""

    code = "dependency_unavailable"
    retry_after_s = 2

    def __init__(self, dependency: str) -> None:
        super().__init__(f"Service temporarily unavailable: {dependency}")
