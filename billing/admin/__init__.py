"""The admin of organizations, teams, budgets, the ledger, its checks, refills, their uploads, and LiteLLM Proxy."""

from billing.admin import budgets, checks, ledger, organizations, proxy, refills, teams, uploads

__all__ = ["budgets", "checks", "ledger", "organizations", "proxy", "refills", "teams", "uploads"]
