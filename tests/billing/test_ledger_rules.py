"""The ledger's rules hold in the database itself: each test tries to break one."""

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from config.foundation.constraints import violated
from tests.support.api import Tenant


def broken_rule(sql: str, *parameters: Any) -> str | None:
    with pytest.raises(IntegrityError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, parameters)
    return violated(caught.value)


def test_an_entry_cannot_be_updated_or_deleted(tenant: Tenant) -> None:
    assert broken_rule("UPDATE billing_ledgerentry SET amount = 2") == "ledger_only_grows"
    assert broken_rule("DELETE FROM billing_ledgerentry") == "ledger_only_grows"


@pytest.mark.parametrize("column", ["allocated", "used", "held", "last_sequence"])
def test_a_balance_cannot_be_written_directly(tenant: Tenant, column: str) -> None:
    assert broken_rule(f"UPDATE billing_creditaccount SET {column} = {column} + 1") == "account_is_derived"  # noqa: S608
