"""Freeing the slots of calls that nobody else settles, by what is on record. For the sweeper, without an event loop.

Where nobody knows their tokens, those stay as they were estimated, and age out within the minute.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

import redis
from django.conf import settings
from django.db import connection
from redis.exceptions import RedisError

from jobs.callpath.limits.limiter import TIMEOUT_S, UNKNOWN, settling, window_ms
from jobs.callpath.limits.scripts import DUE_TEXT, LOOK_AFTER_MS, SETTLE, WITH_SLOTS

logger = logging.getLogger(__name__)

#: How many calls one round looks at. Where more have slots, the rest have their turn in the next one.
MOST_LOOKS = 2000
#: What else than a success took is not known for sure.
_ON_RECORD = """
    SELECT id, ended_at IS NULL AS is_open,
        CASE WHEN state = 'succeeded' THEN prompt_tokens + completion_tokens ELSE %(unknown)s END AS tokens
    FROM jobs_call WHERE id = ANY(%(call_ids)s)
"""


def settle_lost(call_ids: Iterable[UUID]) -> None:
    """Free the slots of calls that nobody runs any more."""
    if calls := dict.fromkeys(call_ids, UNKNOWN):
        with _redis_or_later() as client:
            _settle(client, calls)


def settle_unheard() -> None:
    """Free the slots of calls that are on record as ended, or not at all, although nobody has settled them.

    So it is where a process died, or Redis was away, just before it could. Looks at those who have had theirs for
    LOOK_AFTER_MS; where there are none, PostgreSQL is not asked.
    """
    with _redis_or_later() as client:
        due = [UUID(call.decode()) for call in client.eval(DUE_TEXT, 1, WITH_SLOTS, LOOK_AFTER_MS, MOST_LOOKS)]
        if not due:
            return
        with connection.cursor() as cursor:
            cursor.execute(_ON_RECORD, {"call_ids": due, "unknown": UNKNOWN})
            on_record = {call_id: None if is_open else tokens for call_id, is_open, tokens in cursor.fetchall()}
        tokens_of = {call_id: on_record.get(call_id, UNKNOWN) for call_id in due}
        if unheard := {call_id: tokens for call_id, tokens in tokens_of.items() if tokens is not None}:
            logger.warning("freed the slots of %d calls that nobody had settled", len(unheard))
            _settle(client, unheard)


@contextmanager
def _redis_or_later() -> "Iterator[redis.Redis]":
    """What fails in it is done in a later round."""
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        ) as client:
            yield client
    except (RedisError, OSError) as error:
        logger.warning("slots of calls that ended are not free yet: %r", error)


def _settle(client: "redis.Redis", calls: Mapping[UUID, int]) -> None:
    window = window_ms()
    with client.pipeline(transaction=False) as pipeline:
        for call_id, tokens in calls.items():
            keys, arguments = settling(window, call_id, tokens)
            pipeline.eval(SETTLE.text, len(keys), *keys, *arguments)
        pipeline.execute()
