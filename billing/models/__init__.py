"""One model per file. Only `billing.ledger` and the triggers write accounts, entries, holds, grants and draws."""

from billing.models.credit_account import CreditAccount
from billing.models.credit_grant import CreditGrant
from billing.models.credit_hold import CreditHold
from billing.models.grant_draw import GrantDraw
from billing.models.ledger_check import LedgerCheck
from billing.models.ledger_entry import LedgerEntry
from billing.models.proxy_drift import DriftKind, ProxyDrift
from billing.models.proxy_spend import ProxySpend
from billing.models.proxy_team import ProxyTeam
from billing.models.refill import Refill
from billing.models.refill_policy import RefillPolicy
from billing.models.refill_upload import RefillUpload
from billing.models.refill_upload_row import RefillUploadRow
from billing.models.team_budget import TeamBudget

__all__ = [
    "CreditAccount",
    "CreditGrant",
    "CreditHold",
    "DriftKind",
    "GrantDraw",
    "LedgerCheck",
    "LedgerEntry",
    "ProxyDrift",
    "ProxySpend",
    "ProxyTeam",
    "Refill",
    "RefillPolicy",
    "RefillUpload",
    "RefillUploadRow",
    "TeamBudget",
]
