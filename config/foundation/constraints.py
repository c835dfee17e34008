"""Which rule of the database a write broke."""

from django.db import IntegrityError


def violated(error: IntegrityError) -> str | None:
    """The constraint's name, None where PostgreSQL names none. Errors are translated by it, never by their text."""
    diagnostics = getattr(error.__cause__, "diag", None)
    return getattr(diagnostics, "constraint_name", None)
