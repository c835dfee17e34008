"""Writes: keyword-only, typed, one transaction each."""
