"""The only writer of entries, holds and balances.

A credit's life: `place_hold` when a job opens, then exactly one of `capture_hold` (it becomes a deduction) and
`release_hold`. Every function is one statement. The rules are the database's own (constraints and the triggers
of migration 0002), so no caller, however concurrent, can oversell an account or charge a job twice:

    entry posted   → account.allocated/used and sequence move, entry gets sequence and balance_after
    hold placed    → account.held grows, or the statement fails: account_is_never_overdrawn
    hold ended     → account.held shrinks, hold gets balance_after

These statements are SQL because they are the hot ones: one round trip each, where the ORM would take three.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from billing.errors import InsufficientCredits
from billing.models import CreditAccount, LedgerEntry
from config.foundation.constraints import violated

OVERDRAWN = "account_is_never_overdrawn"


@dataclass(frozen=True)
class EndedHold:
    """How a job's hold ended, and the account's remaining credits right after."""

    state: Literal["captured", "released", "expired"]
    credits_remaining: int


def open_account(*, team_pk: int) -> CreditAccount:
    """An empty account for a new team."""
    return CreditAccount.objects.create(team_id=team_pk)


def allocate(*, team_pk: int, amount: int, reason: str, metadata: dict[str, Any], actor: str) -> LedgerEntry:
    """Post an allocation of `amount` > 0 credits and return the entry as posted."""
    return _post(
        team_pk=team_pk,
        kind=LedgerEntry.Kind.ALLOCATION,
        amount=amount,
        reason=reason,
        metadata=metadata,
        actor=actor,
    )


def adjust(*, team_pk: int, amount: int, reason: str, metadata: dict[str, Any], actor: str) -> LedgerEntry:
    """Post a correction of `amount` ≠ 0 credits, either sign. Raises InsufficientCredits for more than is available."""
    try:
        with transaction.atomic():
            return _post(
                team_pk=team_pk,
                kind=LedgerEntry.Kind.ADJUSTMENT,
                amount=amount,
                reason=reason,
                metadata=metadata,
                actor=actor,
            )
    except IntegrityError as error:
        raise translated(error, team_pk=team_pk, required=-amount) from error


def _post(*, team_pk: int, kind: str, amount: int, reason: str, metadata: dict[str, Any], actor: str) -> LedgerEntry:
    entries = LedgerEntry.objects.raw(
        """
        INSERT INTO billing_ledgerentry
            (id, account_id, sequence, kind, amount, balance_after, reason, metadata, actor, created_at)
        VALUES (%s, %s, 0, %s, %s, 0, %s, %s::jsonb, %s, now())
        RETURNING *
        """,
        [uuid.uuid4(), team_pk, kind, amount, reason, json.dumps(metadata), actor],
    )
    return entries[0]


#: For a statement that places a hold together with what it is for (jobs.services.jobs.open_job): parameters
#: hold_id, team_pk, job_id.
PLACE_HOLD = """
    INSERT INTO billing_credithold (id, account_id, job_id, amount, state, created_at)
    VALUES (%(hold_id)s, %(team_pk)s, %(job_id)s, 1, 'held', now())
"""


def capture_hold(*, job_id: UUID, reason: str, actor: str) -> EndedHold | None:
    """Turn the job's hold into its one deduction. None where the hold has already ended: nothing changes then."""
    return _ended(
        "captured",
        """
        INSERT INTO billing_ledgerentry
            (id, account_id, sequence, kind, amount, balance_after, reason, job_id, hold_id, metadata, actor,
             created_at)
        SELECT %s, account_id, 0, 'deduction', -amount, 0, %s, job_id, id, '{}', %s, now()
        FROM billing_credithold
        WHERE job_id = %s AND state = 'held'
        FOR NO KEY UPDATE
        RETURNING balance_after
        """,
        [uuid.uuid4(), reason, actor, job_id],
    )


def release_hold(*, job_id: UUID, as_state: Literal["released", "expired"] = "released") -> EndedHold | None:
    """Give the job's credit back. None where the hold has already ended: nothing changes then."""
    return _ended(
        as_state,
        """
        UPDATE billing_credithold SET state = %s, ended_at = now()
        WHERE job_id = %s AND state = 'held'
        RETURNING balance_after
        """,
        [as_state, job_id],
    )


def _ended(state: Literal["captured", "released", "expired"], sql: str, parameters: Sequence[Any]) -> EndedHold | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
    return EndedHold(state=state, credits_remaining=row[0]) if row else None


def translated(error: IntegrityError, *, team_pk: int, required: int) -> Exception:
    """InsufficientCredits for an account that would have been overdrawn, the error itself for any other."""
    if violated(error) not in {OVERDRAWN, "account_counts_are_not_negative"}:
        return error
    account = CreditAccount.objects.get(pk=team_pk)
    return InsufficientCredits(required=required, available=account.available)
