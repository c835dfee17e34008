"""Remembering what was answered under an Idempotency-Key (contract, "Jobs and credits")."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from config.foundation import encryption
from tenancy.errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from tenancy.models import IdempotencyRecord

Result = TypeVar("Result")


def begin(*, scope: str, key: str, request_hash: bytes) -> bytes | None:
    """Claim the key, or return the reply that is stored under it.

    Must run inside the transaction that does the work: a second request with the key then waits here until
    that transaction has ended, and finds either its reply or, after a rollback, the key free again.
    Raises IdempotencyKeyReused, IdempotencyKeyInFlight.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("idempotency.begin must run inside a transaction")
    try:
        record, created = IdempotencyRecord.objects.get_or_create(
            scope=scope, key=key, defaults={"request_hash": request_hash}
        )
        if created:
            return None
        record.refresh_from_db()
    except (IntegrityError, IdempotencyRecord.DoesNotExist):
        # It was there a moment ago, and has been given back.
        raise IdempotencyKeyInFlight from None
    if bytes(record.request_hash) != request_hash:
        raise IdempotencyKeyReused
    if record.reply is None:
        raise IdempotencyKeyInFlight
    return encryption.decrypt(bytes(record.reply))


def finish(*, scope: str, key: str, reply: bytes, about: UUID | None = None) -> None:
    """Store the answer, in the transaction that did the work; and which job it is about, where it is about one."""
    IdempotencyRecord.objects.filter(scope=scope, key=key).update(reply=encryption.encrypt(reply), claimed_for=about)


@transaction.atomic
def once(*, scope: str, key: str, request_hash: bytes, act: Callable[[], Result]) -> Result | None:
    """Do it, in one transaction with the note that it was done; None where it was done under this key before.

    For callers to whom the first answer need not be given again. Raises as `begin` does, and what `act` raises: then
    nothing was done, and the key is free.
    """
    if begin(scope=scope, key=key, request_hash=request_hash) is not None:
        return None
    result = act()
    finish(scope=scope, key=key, reply=b"done")
    return result


def purge_expired() -> int:
    """Forget what is older than settings.IDEMPOTENCY_TTL_S; returns how many records that were."""
    horizon = timezone.now() - timedelta(seconds=settings.IDEMPOTENCY_TTL_S)
    return IdempotencyRecord.objects.filter(created_at__lt=horizon).delete()[0]
