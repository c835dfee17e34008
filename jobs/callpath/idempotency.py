"""`Idempotency-Key` on a call, which is in flight for longer than a transaction.

The key is claimed before the call is admitted. The worker stores the answer under it (encrypted), so a client
whose connection broke gets that answer by asking again, even from another web process. A call that was refused
or failed gives the key back: nothing was delivered, so it may be tried again.
"""

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from config.foundation import async_database, encryption
from tenancy.errors import IdempotencyKeyInFlight, IdempotencyKeyReused

#: A claim older than any call can live was left by a process that died, and may be taken over.
_CLAIM = """
    INSERT INTO tenancy_idempotencyrecord AS r (scope, key, request_hash, created_at)
    VALUES (%(scope)s, %(key)s, %(request_hash)s, now())
    ON CONFLICT (scope, key) DO UPDATE SET created_at = now()
        WHERE r.reply IS NULL AND r.request_hash = EXCLUDED.request_hash
            AND r.created_at < now() - make_interval(secs => %(stale_after_s)s)
    RETURNING id
"""
_FIND = "SELECT request_hash, reply FROM tenancy_idempotencyrecord WHERE scope = %(scope)s AND key = %(key)s"
_STORE = "UPDATE tenancy_idempotencyrecord SET reply = %(reply)s WHERE scope = %(scope)s AND key = %(key)s"
_GIVE_BACK = "DELETE FROM tenancy_idempotencyrecord WHERE scope = %(scope)s AND key = %(key)s AND reply IS NULL"

STALE_GRACE_S = 10


@dataclass(frozen=True)
class CallKey:
    """An Idempotency-Key and whose it is."""

    scope: str
    key: str


async def claim(key: CallKey, *, request_hash: bytes) -> bytes | None:
    """Claim the key for a new call, or return the reply that an earlier one got.

    Raises IdempotencyKeyReused, IdempotencyKeyInFlight.
    """
    stale_after_s = settings.CALL_DEADLINE_S + STALE_GRACE_S
    claimed: dict[str, Any] = {"request_hash": request_hash, "stale_after_s": stale_after_s, **vars(key)}
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


async def store(key: CallKey, reply: bytes) -> None:
    """Keep an answer."""
    await async_database.fetch_all(_STORE, {"reply": encryption.encrypt(reply), **vars(key)})


async def give_back(key: CallKey) -> None:
    """Let the key be used again. A reply that is stored stays."""
    await async_database.fetch_all(_GIVE_BACK, vars(key))
