"""Refusals about credits. The texts are the guide's."""

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
