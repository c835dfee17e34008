"""The asyncio connection pool of the hot path.

Waiting LLM calls are coroutines and must hold neither a thread nor a database connection, which rules out
Django's connections there. One small pool per event loop serves them all: each statement borrows a
connection for the length of that statement.
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.db import connection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from config.foundation.errors import DependencyUnavailable

Row = dict[str, Any]
_Pool = AsyncConnectionPool[psycopg.AsyncConnection[Row]]

_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool] = WeakKeyDictionary()


async def _pool() -> _Pool:
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        # Django's own settings, so that both sides always speak to the same database (the tests' too).
        arguments = {
            name: value
            for name, value in connection.get_connection_params().items()
            if name not in {"cursor_factory", "context", "pool", "server_side_binding", "prepare_threshold"}
        }
        options = f"{arguments.pop('options', '')} -c timezone=UTC -c statement_timeout=10s".strip()
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
            max_size=settings.ASYNC_POOL_SIZE,
            timeout=settings.ASYNC_POOL_TIMEOUT_S,
            max_idle=60,
            open=False,
        )
        _pools[loop] = pool
        await pool.open(wait=False)
    return pool


async def fetch_one(sql: str, parameters: Mapping[str, Any]) -> Row | None:
    """Run one statement in a transaction of its own and return its first row.

    Raises DependencyUnavailable where PostgreSQL cannot be reached; other psycopg errors (a violated
    constraint, say) pass to the caller.
    """
    rows = await fetch_all(sql, parameters)
    return rows[0] if rows else None


async def fetch_all(sql: str, parameters: Mapping[str, Any]) -> list[Row]:
    """As fetch_one, but all rows. A statement that returns none gives an empty list."""
    pool = await _pool()
    try:
        async with pool.connection() as conn:
            cursor = await conn.execute(sql, parameters)
            return await cursor.fetchall() if cursor.description else []
    except (PoolTimeout, psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DependencyUnavailable("database") from error


async def close() -> None:
    """Close the running loop's pool, if it has one."""
    pool = _pools.pop(asyncio.get_running_loop(), None)
    if pool is not None:
        await pool.close()
