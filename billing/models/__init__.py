"""One model per file. Only `billing.ledger` and the triggers write accounts, entries, holds, grants and draws."""

from billing.models.credit_account import CreditAccount
from billing.models.credit_grant import CreditGrant
from billing.models.credit_hold import CreditHold
from billing.models.grant_draw import GrantDraw
from billing.models.ledger_check import LedgerCheck
from billing.models.ledger_entry import LedgerEntry
from billing.models.refill import Refill
from billing.models.refill_policy import RefillPolicy

__all__ = [
    "CreditAccount",
    "CreditGrant",
    "CreditHold",
    "GrantDraw",
    "LedgerCheck",
    "LedgerEntry",
    "Refill",
    "RefillPolicy",
]
