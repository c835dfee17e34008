"""Limits to requests and tokens per minute and to calls in flight: exact over all processes (docs/adr/0062)."""
