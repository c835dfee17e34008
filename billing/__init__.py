"""Credits: accounts, the ledger, holds; opening a team's account end to end."""
