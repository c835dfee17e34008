"""The OpenAI-compatible endpoints: the same calls, in OpenAI's words (docs/adr/0060)."""
