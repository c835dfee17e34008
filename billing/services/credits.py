"""Adding and correcting credits."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from billing import ledger
from billing.models import CreditAccount, LedgerEntry
from billing.queries import balances
from tenancy.queries.tenants import get_team
from tenancy.services import audit, idempotency


@dataclass(frozen=True)
class CreditChange:
    """The entry that was posted, and the account right after it."""

    entry: LedgerEntry
    account: CreditAccount


@transaction.atomic
def add_credits(
    *,
    team_pk: int,
    amount: int,
    reason: str,
    metadata: dict[str, Any],
    actor: str,
    terms: ledger.GrantTerms = ledger.GrantTerms(),  # noqa: B008 (immutable)
) -> CreditChange:
    """Allocate `amount` > 0 credits. Raises CreditLimitExceeded, InvalidInput (see ledger.allocate)."""
    entry = ledger.allocate(
        team_pk=team_pk, amount=amount, reason=reason, metadata=metadata, actor=actor[:64], terms=terms
    )
    account = balances.account_of(team_pk)
    _note(account, entry, "credits.added", actor)
    return CreditChange(entry, account)


@transaction.atomic
def adjust_credits(*, team_id: str, amount: int, reason: str, key: str, actor: str) -> LedgerEntry | None:
    """Correct a team's balance by `amount` ≠ 0 credits; None where that was done under this key before (48 h).

    Raises TeamNotFound, InsufficientCredits, IdempotencyKeyReused (the key came with another correction).
    """
    team = get_team(team_id)
    request_hash = hashlib.sha256(json.dumps([team_id, amount, reason]).encode()).digest()
    scope = f"command:{actor}"[:64]
    if idempotency.begin(scope=scope, key=key, request_hash=request_hash) is not None:
        return None
    entry = ledger.adjust(team_pk=team.pk, amount=amount, reason=reason, metadata={"key": key}, actor=actor[:64])
    idempotency.finish(scope=scope, key=key, reply=str(entry.id).encode())
    _note(balances.account_of(team.pk), entry, "credits.adjusted", actor)
    return entry


def _note(account: CreditAccount, entry: LedgerEntry, action: str, actor: str) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=account.team.team_id,
        organization_pk=account.team.organization_id,
        team_pk=account.pk,
        before={"credits_remaining": entry.balance_after - entry.amount},
        after={"credits_remaining": entry.balance_after, "amount": entry.amount, "entry_id": str(entry.id)},
        reason=entry.reason,
    )
