"""The only writer of entries, holds and balances.

A credit's life: `place_hold` when a job opens, then exactly one of `capture_hold` (it becomes a deduction) and
`release_hold`. Every function is one statement. The rules are the database's own (constraints and the triggers
of migrations 0002 and 0004), so no caller, however concurrent, can oversell an account or charge a job twice:

    entry posted   → account.allocated/used and sequence move, entry gets sequence, balance_after and digest
    … amount > 0   → a grant is made; amount < 0 → grants are drawn on (migration 0004)
    hold placed    → account.held grows, or the statement fails: account_is_never_overdrawn
    hold ended     → account.held shrinks, hold gets balance_after

These statements are SQL because they are the hot ones: one round trip each, where the ORM would take three.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from billing.errors import CreditLimitExceeded, InsufficientCredits
from billing.models import CreditAccount, CreditGrant, LedgerEntry
from billing.models.credit_grant import DEFAULT_PRIORITY
from config.foundation.constraints import violated
from config.foundation.errors import InvalidInput

OVERDRAWN = "account_is_never_overdrawn"
OVER_LIMIT = "refill_respects_the_credit_limit"


@dataclass(frozen=True)
class GrantTerms:
    """Why credits are given, from when on they are no longer good, and how early they are drawn on (small is early)."""

    kind: str = CreditGrant.Kind.PURCHASE
    expires_at: datetime | None = None
    priority: int = DEFAULT_PRIORITY


@dataclass(frozen=True)
class EndedHold:
    """How a job's hold ended, and the account's remaining credits right after."""

    state: Literal["captured", "released", "expired"]
    credits_remaining: int


def open_account(*, team_pk: int) -> CreditAccount:
    """An empty account for a new team."""
    return CreditAccount.objects.create(team_id=team_pk)


def allocate(
    *,
    team_pk: int,
    amount: int,
    reason: str,
    metadata: dict[str, Any],
    actor: str,
    terms: GrantTerms = GrantTerms(),
) -> LedgerEntry:
    """Post an allocation of `amount` > 0 credits, a grant under these terms, and return the entry as posted.

    Raises CreditLimitExceeded for a refill beyond the account's limit, InvalidInput for one that has expired already.
    """
    try:
        with transaction.atomic():
            return _post(
                team_pk=team_pk,
                kind=LedgerEntry.Kind.ALLOCATION,
                amount=amount,
                reason=reason,
                metadata=metadata,
                actor=actor,
                terms=terms,
            )
    except IntegrityError as error:
        if violated(error) == OVER_LIMIT:
            account = CreditAccount.objects.get(pk=team_pk)
            raise CreditLimitExceeded(amount=amount, limit=account.credit_limit or 0) from error
        if violated(error) == "grant_expires_after_it_is_made":
            raise InvalidInput("must be in the future", field="expires_at") from error
        raise


@dataclass(frozen=True)
class Posting:
    """One of many allocations: `amount` > 0 credits."""

    team_pk: int
    amount: int
    reason: str
    metadata: dict[str, Any]


def allocate_many(*, postings: Sequence[Posting], terms: GrantTerms, actor: str) -> list[UUID]:
    """Post allocations in one statement, in their order, and return the entries' ids in the same order.

    The accounts should be locked, in one order, or two callers may lock each other out. Raises IntegrityError for what
    `allocate` refuses: the caller knows the accounts, and has looked.
    """
    ids = [uuid.uuid4() for _ in postings]
    columns: dict[str, Any] = {
        "ids": ids,
        "accounts": [posting.team_pk for posting in postings],
        "amounts": [posting.amount for posting in postings],
        "reasons": [posting.reason for posting in postings],
        "metadata": [json.dumps(posting.metadata) for posting in postings],
    }
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO billing_ledgerentry
                (id, account_id, sequence, kind, amount, balance_after, reason, grant_kind, grant_priority,
                 grant_expires_at, metadata, actor, created_at)
            SELECT id, account, 0, 'allocation', amount, 0, reason, %(kind)s, %(priority)s, %(expires_at)s::timestamptz,
                   metadata::jsonb, %(actor)s, now()
            FROM unnest(%(ids)s::uuid[], %(accounts)s::bigint[], %(amounts)s::bigint[], %(reasons)s::text[],
                        %(metadata)s::text[]) WITH ORDINALITY AS p (id, account, amount, reason, metadata, number)
            ORDER BY number
            """,
            {**columns, "kind": terms.kind, "priority": terms.priority, "expires_at": terms.expires_at, "actor": actor},
        )
    return ids


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
                terms=GrantTerms(kind=CreditGrant.Kind.ADJUSTMENT) if amount > 0 else None,
            )
    except IntegrityError as error:
        raise translated(error, team_pk=team_pk, required=-amount) from error


def _post(
    *,
    team_pk: int,
    kind: str,
    amount: int,
    reason: str,
    metadata: dict[str, Any],
    actor: str,
    terms: GrantTerms | None,
) -> LedgerEntry:
    granted = (terms.kind, terms.priority, terms.expires_at) if terms else (None, None, None)
    entries = LedgerEntry.objects.raw(
        """
        INSERT INTO billing_ledgerentry
            (id, account_id, sequence, kind, amount, balance_after, reason, grant_kind, grant_priority,
             grant_expires_at, metadata, actor, created_at)
        VALUES (%s, %s, 0, %s, %s, 0, %s, %s, %s, %s, %s::jsonb, %s, now())
        RETURNING *
        """,
        [uuid.uuid4(), team_pk, kind, amount, reason, *granted, json.dumps(metadata), actor],
    )
    return entries[0]


#: What open jobs hold must stay chargeable, so only what is available is written off (docs/adr/0031), first of the
#: grants that would be drawn on first. The account's row must be locked: the figures are those of the last commit then.
_WRITE_OFF = """
    WITH expired AS (
        SELECT g.id, g.remaining, g.sequence, a.team_id, a.allocated - a.used - a.held AS available,
               SUM(g.remaining) OVER (ORDER BY g.priority, g.expires_at, g.sequence) - g.remaining AS before
        FROM billing_creditgrant g JOIN billing_creditaccount a ON a.team_id = g.account_id
        WHERE g.account_id = %(team_pk)s AND NOT g.is_spent AND g.expires_at <= %(now)s
    )
    INSERT INTO billing_ledgerentry
        (id, account_id, sequence, kind, amount, balance_after, reason, expired_grant_id, metadata, actor, created_at)
    SELECT gen_random_uuid(), team_id, 0, 'expiry', -LEAST(remaining, available - before), 0, 'Credits expired', id,
           '{}', %(actor)s, now()
    FROM expired WHERE available > before
    ORDER BY before, sequence
    RETURNING -amount
"""


def write_off_expired(*, team_pk: int, now: datetime, actor: str) -> int:
    """Write off what is left of the account's expired grants, but what open jobs hold; how many credits that were.

    Must run inside a transaction. Repeating it changes nothing.
    """
    CreditAccount.objects.select_for_update(no_key=True).get(pk=team_pk)
    with connection.cursor() as cursor:
        cursor.execute(_WRITE_OFF, {"team_pk": team_pk, "now": now, "actor": actor})
        return sum(amount for (amount,) in cursor.fetchall())


#: For a statement that places a hold together with what it is for (jobs.services.jobs.open_job): parameters
#: hold_id, team_pk, job_id. A FROM clause may follow, of one row or none.
PLACE_HOLD = """
    INSERT INTO billing_credithold (id, account_id, job_id, amount, state, created_at)
    SELECT %(hold_id)s::uuid, %(team_pk)s::bigint, %(job_id)s::uuid, 1, 'held', now()
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
