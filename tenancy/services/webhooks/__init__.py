"""Webhooks: endpoints, the outbox of events, and their delivery (docs/webhooks.md, docs/adr/0040)."""
