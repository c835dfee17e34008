"""The admin of organizations, teams, the ledger, its checks, refills, and LiteLLM Proxy."""

from billing.admin import checks, ledger, organizations, proxy, refills, teams

__all__ = ["checks", "ledger", "organizations", "proxy", "refills", "teams"]
