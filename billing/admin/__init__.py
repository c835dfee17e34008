"""The admin of teams, the ledger, its checks, refills, and LiteLLM Proxy."""

from billing.admin import checks, ledger, proxy, refills, teams

__all__ = ["checks", "ledger", "proxy", "refills", "teams"]
