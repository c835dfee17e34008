"""Reads of the audit log."""

from django.db import connection

# A loose index scan: PostgreSQL's DISTINCT would read every entry to find some thirty words.
_ACTIONS = """
    WITH RECURSIVE seen AS (
        SELECT min(action) AS action FROM tenancy_auditentry
        UNION ALL
        SELECT (SELECT min(action) FROM tenancy_auditentry WHERE action > seen.action) FROM seen
        WHERE seen.action IS NOT NULL
    )
    SELECT action FROM seen WHERE action IS NOT NULL
"""


def actions() -> list[str]:
    """The actions that occur, in order."""
    with connection.cursor() as cursor:
        cursor.execute(_ACTIONS)
        return [action for (action,) in cursor.fetchall()]
