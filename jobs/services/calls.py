"""Ending calls that nobody runs any more."""

import json
import logging
from uuid import UUID

from django.conf import settings
from django.db import connection

from jobs.errors import Failure, failure_text

logger = logging.getLogger(__name__)

#: A call is lost when the process that answers for it has stopped beating: the web process while it is queued, because
#: nobody else would hand it over again, then the worker. And any call when its deadline has long passed. A process that
#: has just started, or whose PostgreSQL has, gets the time to beat.
#: The job's row is read under a share lock, so that `is_late` and the job's end agree on who came first.
_SWEEP = """
    WITH lost AS (
        SELECT c.id, c.job_id,
            CASE
                WHEN c.process_id IS NOT NULL AND p.id IS NULL THEN %(interrupted)s
                WHEN c.state = 'queued' THEN %(not_started)s
                ELSE %(deadline)s
            END AS cause
        FROM jobs_call c
        LEFT JOIN jobs_callprocess p
            ON p.id = c.process_id AND p.heartbeat_at > now() - make_interval(secs => %(lost_after_s)s)
        WHERE c.ended_at IS NULL
            AND ((c.process_id IS NOT NULL AND p.id IS NULL
                  AND GREATEST(c.created_at, pg_postmaster_start_time())
                      < now() - make_interval(secs => %(lost_after_s)s))
                 OR c.deadline_at < now() - make_interval(secs => %(grace_s)s))
        LIMIT %(batch)s
        FOR NO KEY UPDATE OF c SKIP LOCKED
    ),
    job AS (
        SELECT id, status IN ('completed', 'failed') AS has_ended FROM jobs_job
        WHERE id IN (SELECT job_id FROM lost) ORDER BY id FOR SHARE
    )
    UPDATE jobs_call c
    SET state = CASE WHEN lost.cause = %(interrupted)s THEN 'interrupted' ELSE 'failed' END, cause = lost.cause,
        error = %(texts)s::jsonb ->> lost.cause, ended_at = clock_timestamp(),
        is_late = COALESCE(job.has_ended, false),
        latency_ms = EXTRACT(EPOCH FROM clock_timestamp() - COALESCE(c.started_at, c.created_at)) * 1000
    FROM lost LEFT JOIN job ON job.id = lost.job_id
    WHERE c.id = lost.id
    RETURNING c.id, lost.cause
"""

SWEPT = (Failure.NOT_STARTED, Failure.INTERRUPTED, Failure.DEADLINE)


#: A row without a time of its own is an asynchronous call's that a worker did not end.
_ERASE_CONTENTS = """
    DELETE FROM jobs_callcontent WHERE call_id IN (
        SELECT content.call_id
        FROM jobs_callcontent content JOIN jobs_call c ON c.id = content.call_id
        WHERE content.erase_at <= now()
            OR (content.erase_at IS NULL AND c.state IN ('succeeded', 'failed', 'interrupted', 'cancelled'))
        LIMIT %(batch)s
    )
"""


def erase_contents(*, batch: int = 5000) -> int:
    """Erase prompts and answers that are not to be kept any longer; returns of how many calls."""
    with connection.cursor() as cursor:
        cursor.execute(_ERASE_CONTENTS, {"batch": batch})
        return cursor.rowcount


def sweep_lost_calls(*, batch: int = 1000) -> list[UUID]:
    """End calls whose worker died, or that outlived their deadline; returns which."""
    parameters = {
        "not_started": Failure.NOT_STARTED.value,
        "interrupted": Failure.INTERRUPTED.value,
        "deadline": Failure.DEADLINE.value,
        "texts": json.dumps({cause.value: failure_text(cause) for cause in SWEPT}),
        "lost_after_s": settings.WORKER_LOST_AFTER_S,
        "grace_s": settings.WORKER_LOST_AFTER_S,
        "batch": batch,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SWEEP, parameters)
        swept = cursor.fetchall()
        cursor.execute("DELETE FROM jobs_callprocess WHERE heartbeat_at < now() - interval '1 day'")
    for call_id, cause in swept:
        logger.warning("call %s was lost: %s", call_id, cause)
    return [call_id for call_id, _ in swept]
