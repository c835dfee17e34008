"""One model per file. Only `billing.ledger` writes them."""

from billing.models.credit_account import CreditAccount
from billing.models.credit_hold import CreditHold
from billing.models.ledger_entry import LedgerEntry

__all__ = ["CreditAccount", "CreditHold", "LedgerEntry"]
