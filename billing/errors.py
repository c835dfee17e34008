"""Refusals about credits. The texts are the guide's."""

from collections.abc import Sequence

from config.foundation.errors import DomainError


class InsufficientCredits(DomainError):
    """Fewer credits are available than the operation needs; nothing was done."""

    code = "insufficient_credits"

    def __init__(self, *, required: int, available: int) -> None:
        super().__init__(f"Insufficient credits. Required: {required}, Available: {available}")
        self.required = required
        self.available = available


class CreditLimitExceeded(DomainError):
    """A refill would take the balance beyond the account's credit limit; nothing was done."""

    code = "credit_limit_exceeded"

    def __init__(self, *, amount: int, limit: int) -> None:
        super().__init__(f"A refill of {amount} credits would exceed the credit limit of {limit}")


class RefillsRefused(DomainError):
    """A batch that is to be carried out as a whole has rows that cannot be; nothing was done."""

    code = "refills_refused"

    def __init__(self, refused: Sequence[object]) -> None:
        super().__init__(f"{len(refused)} rows cannot be carried out")
        #: billing.services.refills.RefillResult of each of them.
        self.refused = refused


class RefillPolicyNotFound(DomainError):
    """The team has no refill policy."""

    code = "not_found"

    def __init__(self, team_id: str) -> None:
        super().__init__(f"Team '{team_id}' has no refill policy")
