"""Steps of a credit's life, without a job around them, and what can be done to the books behind the triggers' back."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connection, transaction

from billing import ledger
from billing.models import CreditAccount, LedgerEntry
from config.foundation.constraints import violated

TABLES = (
    "billing_ledgerentry",
    "billing_creditaccount",
    "billing_teambudget",
    "billing_credithold",
    "billing_creditgrant",
    "billing_grantdraw",
)


def give(team_pk: int, amount: int, **terms: Any) -> LedgerEntry:
    return ledger.allocate(
        team_pk=team_pk, amount=amount, reason="", metadata={}, actor="test", terms=ledger.GrantTerms(**terms)
    )


def correct(team_pk: int, amount: int) -> LedgerEntry:
    return ledger.adjust(team_pk=team_pk, amount=amount, reason="", metadata={}, actor="test")


def place(team_pk: int, job_id: uuid.UUID) -> str | None:
    """Hold a credit for the job; the rule that refused it, None where none did."""
    parameters: dict[str, Any] = {"hold_id": uuid.uuid4(), "team_pk": team_pk, "job_id": job_id}
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(ledger.PLACE_HOLD, parameters)
    except IntegrityError as error:
        return violated(error)
    return None


def hold(team_pk: int, job_id: uuid.UUID | None = None) -> uuid.UUID | None:
    """The job whose credit is held now, None where nothing was available."""
    job_id = job_id or uuid.uuid4()
    broken = place(team_pk, job_id)
    assert broken in (None, ledger.OVERDRAWN)
    return None if broken else job_id


def charge(team_pk: int, jobs: int = 1) -> None:
    """Open and complete so many jobs."""
    for _ in range(jobs):
        job_id = hold(team_pk)
        assert job_id is not None
        assert ledger.capture_hold(job_id=job_id, reason="", actor="test") is not None


def write_off(team_pk: int, now: datetime) -> int:
    with transaction.atomic():
        return ledger.write_off_expired(team_pk=team_pk, now=now, actor="test")


def balance(team_pk: int) -> tuple[int, int, int]:
    account = CreditAccount.objects.get(pk=team_pk)
    return account.allocated, account.used, account.held


@contextmanager
def behind_its_back() -> Iterator[Any]:
    """A cursor that no trigger sees, as somebody with the owner's rights has it; the changes are undone afterwards."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for table in TABLES:
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            yield cursor
        transaction.set_rollback(True)
