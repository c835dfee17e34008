"""The admin of organizations, teams, the ledger, its checks, refills, their uploads, and LiteLLM Proxy."""

from billing.admin import checks, ledger, organizations, proxy, refills, teams, uploads

__all__ = ["checks", "ledger", "organizations", "proxy", "refills", "teams", "uploads"]
