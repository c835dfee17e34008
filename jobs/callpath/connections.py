"""Redis for the call path: asyncio, one connection or two per process, and built to see Redis restart."""

import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff


def connect() -> "redis.asyncio.Redis":
    """A client that survives a restart of Redis: the first command after one fails without a retry."""
    return redis.asyncio.Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=2,
        # No read timeout: a blocking pop waits on purpose, and 8.x would default to five seconds.
        socket_timeout=None,
        socket_keepalive=True,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=3),
        retry_on_error=[redis.exceptions.ConnectionError, redis.exceptions.TimeoutError],
    )
