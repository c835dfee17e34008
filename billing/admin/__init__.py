"""The admin of teams, the ledger, its checks, and refills."""

from billing.admin import checks, ledger, refills, teams

__all__ = ["checks", "ledger", "refills", "teams"]
