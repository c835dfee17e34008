"""Keeping the rollups equal to the rows (docs/adr/0052)."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection, transaction

from config.foundation.failpoints import failpoint
from jobs.queries.rollups import BEGIN_DAYS, DUE_DAYS, END_ROUND, HORIZON, STATEMENTS

#: Days of one round, so that a round after a long pause or a big correction ends, and today's turn comes again.
MOST_DAYS = 31


def refresh_rollups(*, most_days: int = MOST_DAYS) -> int:
    """Sum up today and the days that have changed since they were; returns how many. A transaction for each day.

    A day that somebody else is at is left to him. Killed at any point, the next round does what this one has not.
    """
    with connection.cursor() as cursor:
        cursor.execute(BEGIN_DAYS)
        cursor.execute(DUE_DAYS, {"most": most_days})
        days = [day for (day,) in cursor.fetchall()]
    return sum(_roll_up(day, waits=False) for day in days)


def rebuild_rollups(*, first: date, last: date) -> Iterator[date]:
    """Sum up each day from `first` to `last` anew, changed or not; yields a day once it is done."""
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        _roll_up(day, waits=True)
        yield day


@transaction.atomic
def _roll_up(day: date, *, waits: bool) -> bool:
    """One day. Each statement sees what has committed before it, so their order matters: lock, look, unmark, sum up.

    Without the lock, whoever has read earlier could write later. Marks go before the sums are read: a change whose mark
    is seen has committed, and a mark that comes later stays for the next round.
    """
    start = datetime.combine(day, time(), UTC)
    parameters: dict[str, Any] = {"day": day, "start": start, "end": start + timedelta(days=1)}
    with connection.cursor() as cursor:
        if not _has_lock(cursor, day, waits=waits):
            return False
        cursor.execute(HORIZON, parameters)
        oldest_running, next_id, is_over = cursor.fetchone()
        cursor.execute("DELETE FROM jobs_latechange WHERE day = %(day)s", parameters)
        for statement in STATEMENTS:
            cursor.execute(statement, parameters)
            failpoint("rollups.half_way")
        horizon = {"oldest_running": oldest_running, "next_id": next_id, "is_over": is_over}
        cursor.execute(END_ROUND, {**parameters, **horizon})
    return True


def _has_lock(cursor: Any, day: date, *, waits: bool) -> bool:
    """Until the transaction ends. Two keys: no other lock of ours has two."""
    key = [day.toordinal()]
    if waits:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('rollups'), %s)", key)
        return True
    cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('rollups'), %s)", key)
    (has_lock,) = cursor.fetchone()
    return bool(has_lock)
