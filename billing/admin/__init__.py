"""The admin of teams, the ledger and its checks."""

from billing.admin import checks, ledger, teams

__all__ = ["checks", "ledger", "teams"]
