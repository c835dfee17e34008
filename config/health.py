"""`GET /health`: can this process reach what it needs."""

import asyncio
from collections.abc import Awaitable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from redis.exceptions import RedisError

from config.foundation import async_database
from config.foundation.api.coroutine_views import json_answer
from config.foundation.errors import DependencyUnavailable
from jobs.callpath.connections import connect

TIMEOUT_S = 2.0


async def health(request: HttpRequest) -> HttpResponseBase:
    """200 and "healthy", or 503 and which part is not. Needs no key and tells no detail."""
    database, broker = await asyncio.gather(_is_reachable(_ask_database()), _is_reachable(_ask_redis()))
    parts = {"database": database, "redis": broker}
    is_healthy = all(parts.values())
    body = {
        "status": "healthy" if is_healthy else "unhealthy",
        **{name: "ok" if is_reachable else "unreachable" for name, is_reachable in parts.items()},
    }
    return json_answer(body, status=200 if is_healthy else 503, headers={} if is_healthy else {"Retry-After": "2"})


async def _is_reachable(question: Awaitable[None]) -> bool:
    try:
        await asyncio.wait_for(question, TIMEOUT_S)
    except (DependencyUnavailable, RedisError, TimeoutError, OSError):
        return False
    return True


async def _ask_database() -> None:
    await async_database.fetch_one("SELECT 1", {}, lane="health")


async def _ask_redis() -> None:
    client = connect()
    try:
        await client.ping()
    finally:
        await client.aclose()
