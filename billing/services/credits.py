"""Adding and correcting credits."""

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from billing import ledger
from billing.models import CreditAccount, LedgerEntry
from billing.queries import balances


@dataclass(frozen=True)
class CreditChange:
    """The entry that was posted, and the account right after it."""

    entry: LedgerEntry
    account: CreditAccount


@transaction.atomic
def add_credits(*, team_pk: int, amount: int, reason: str, metadata: dict[str, Any], actor: str) -> CreditChange:
    """Allocate `amount` > 0 credits."""
    entry = ledger.allocate(team_pk=team_pk, amount=amount, reason=reason, metadata=metadata, actor=actor)
    return CreditChange(entry, balances.account_of(team_pk))
