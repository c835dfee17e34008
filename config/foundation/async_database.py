"""The asyncio connection pool of the hot path.

Waiting LLM calls are coroutines and must hold neither a thread nor a database connection, which rules out
Django's connections there. One small pool per event loop serves them all: each statement borrows a
connection for the length of that statement. `/health` has a lane of its own, one connection wide: behind
hundreds of calls that start at once it would look ill just when it is busy.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from config.foundation.errors import DependencyUnavailable

Row = dict[str, Any]
Result = TypeVar("Result")
_Pool = AsyncConnectionPool[psycopg.AsyncConnection[Row]]

Lane = Literal["calls", "health"]

#: Every hot statement finds its rows by their keys. PostgreSQL keeps the plan that it made while a table was empty, or
#: grew faster than its statistics: it must not have chosen to read all of it then. Rows that are found by an index
#: are also locked in its order, by all processes alike.
PLANS = "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_hashjoin=off -c enable_mergejoin=off"

#: No hot statement takes long, so one that does waits for somebody's lock.
LIMITS = "-c statement_timeout=10s -c lock_timeout=3s"

_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Lane, _Pool]] = WeakKeyDictionary()


async def _pool(lane: Lane) -> _Pool:
    pools = _pools.setdefault(asyncio.get_running_loop(), {})
    pool = pools.get(lane)
    if pool is None:
        # Django's own settings, so that both sides always speak to the same database (the tests' too).
        arguments = {
            name: value
            for name, value in connection.get_connection_params().items()
            if name not in {"cursor_factory", "context", "pool", "server_side_binding", "prepare_threshold"}
        }
        options = f"{arguments.pop('options', '')} -c timezone=UTC {LIMITS} {PLANS}".strip()
        pool = AsyncConnectionPool(
            # prepare_threshold: the hot statements are few, so preparing them at the second use pays.
            kwargs={
                **arguments,
                "options": options,
                "autocommit": True,
                "row_factory": dict_row,
                "prepare_threshold": 2,
            },
            min_size=1,
            max_size=settings.ASYNC_POOL_SIZE if lane == "calls" else 1,
            timeout=settings.ASYNC_POOL_TIMEOUT_S,
            max_idle=60,
            open=False,
        )
        pools[lane] = pool
        await pool.open(wait=False)
    return pool


class RowsLocked(DependencyUnavailable):
    """Others are served meanwhile: the trouble is with these rows."""


async def fetch_one(sql: str, parameters: Mapping[str, Any], *, lane: Lane = "calls") -> Row | None:
    """Run one statement in a transaction of its own and return its first row.

    Raises DependencyUnavailable where PostgreSQL cannot be reached, as RowsLocked where it can, but another
    transaction keeps these rows; other psycopg errors (a violated constraint, say) pass to the caller.
    """
    rows = await fetch_all(sql, parameters, lane=lane)
    return rows[0] if rows else None


async def fetch_all(sql: str, parameters: Mapping[str, Any], *, lane: Lane = "calls") -> list[Row]:
    """As fetch_one, but all rows. A statement that returns none gives an empty list."""
    pool = await _pool(lane)
    try:
        async with pool.connection() as conn:
            cursor = await conn.execute(sql, parameters)
            return await cursor.fetchall() if cursor.description else []
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        raise RowsLocked("database") from error
    except (PoolTimeout, psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DependencyUnavailable("database") from error


async def in_thread(work: Callable[[], Result]) -> Result:
    """Run work that uses Django's own connection, such as a service, beside the event loop.

    Raises DependencyUnavailable where the database went away: whether the work was committed, nobody knows then.
    """

    def run() -> Result:
        try:
            return work()
        except (OperationalError, InterfaceError) as error:
            raise DependencyUnavailable("database") from error
        finally:
            close_old_connections()

    return await asyncio.to_thread(run)


async def close() -> None:
    """Close the running loop's pools, if it has any."""
    for pool in _pools.pop(asyncio.get_running_loop(), {}).values():
        await pool.close()
