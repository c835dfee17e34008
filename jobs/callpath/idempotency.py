"""`Idempotency-Key` on a call, which is in flight for longer than a transaction.

The key is claimed before the call is admitted. The answer is stored under it (encrypted) by the same statement that
records the call's outcome, so a client whose connection broke gets that answer by asking again, even from another web
process, and never a second call. A call that was refused or failed gives the key back: nothing was delivered, so it
may be tried again.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection

from config.foundation import async_database, encryption
from tenancy.errors import IdempotencyKeyInFlight, IdempotencyKeyReused

_CLAIM = """
    INSERT INTO tenancy_idempotencyrecord (scope, key, request_hash, claimed_for, created_at)
    VALUES (%(scope)s, %(key)s, %(request_hash)s, %(call_id)s, now())
    ON CONFLICT (scope, key) DO NOTHING
    RETURNING id
"""
_FIND = "SELECT request_hash, reply FROM tenancy_idempotencyrecord WHERE scope = %(scope)s AND key = %(key)s"
#: Only this call's claim, because the key may be another's by now; and not while the call may still be answered.
_GIVE_BACK = """
    DELETE FROM tenancy_idempotencyrecord
    WHERE scope = %(scope)s AND key = %(key)s AND reply IS NULL AND claimed_for = %(call_id)s
        AND NOT EXISTS (
            SELECT FROM jobs_call c WHERE c.id = %(call_id)s AND c.state IN ('queued', 'running', 'succeeded')
        )
"""

#: What processes that died have left: no reply will come where the call does not exist, or did not succeed. A claim
#: and its call follow each other, but admission may wait for connections and locks.
_GIVE_BACK_ABANDONED = """
    DELETE FROM tenancy_idempotencyrecord r
    WHERE r.reply IS NULL AND r.claimed_for IS NOT NULL AND r.created_at < now() - make_interval(secs => %(after_s)s)
        AND NOT EXISTS (
            SELECT FROM jobs_call c WHERE c.id = r.claimed_for AND c.state IN ('queued', 'running', 'succeeded')
        )
"""
ABANDONED_AFTER_S = 30


@dataclass(frozen=True)
class CallKey:
    """An Idempotency-Key and whose it is."""

    scope: str
    key: str


async def claim(key: CallKey, *, request_hash: bytes, call_id: UUID) -> bytes | None:
    """Claim the key for a new call, to be admitted by this id, or return the reply that an earlier one got.

    Raises IdempotencyKeyReused, IdempotencyKeyInFlight.
    """
    claimed: dict[str, Any] = {"request_hash": request_hash, "call_id": call_id, **vars(key)}
    if await async_database.fetch_one(_CLAIM, claimed) is not None:
        return None
    found = await async_database.fetch_one(_FIND, vars(key))
    if found is None:
        # Given back between the two statements.
        raise IdempotencyKeyInFlight
    if bytes(found["request_hash"]) != request_hash:
        raise IdempotencyKeyReused
    if found["reply"] is None:
        raise IdempotencyKeyInFlight
    return encryption.decrypt(bytes(found["reply"]))


async def give_back(key: CallKey, *, call_id: UUID) -> None:
    """Let the key that this call claimed be used again. A reply that is stored stays."""
    await async_database.fetch_all(_GIVE_BACK, {"call_id": call_id, **vars(key)})


def give_back_abandoned() -> int:
    """Give keys back that nobody will store a reply under; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(_GIVE_BACK_ABANDONED, {"after_s": ABANDONED_AFTER_S})
        return cursor.rowcount
