"""Asynchronous calls that wait for a worker. Their requests are in the database, so the broker may lose them."""

from celery import current_app
from django.db import connection

from jobs.callpath.messages import CallMessage
from jobs.callpath.publisher import QUEUE, RUN_CALL_TASK

#: Handed over so long ago that the broker, or a worker that died with it, may have lost it. A message that comes twice
#: does no harm, because a worker claims its call first; but a queue that is merely long must not grow much by it, so it
#: is soon done once, and rarely after that.
_WAITING = """
    UPDATE jobs_callcontent content SET published_at = now()
    FROM jobs_call c
    WHERE c.id = content.call_id AND c.state = 'queued'
        AND content.published_at < now() - make_interval(
            secs => CASE WHEN content.published_at < c.created_at + interval '1 s' THEN %(once_s)s ELSE %(again_s)s END)
    RETURNING c.id
"""
HAND_OVER_ONCE_MORE_AFTER_S = 4
HAND_OVER_AGAIN_AFTER_S = 30


def hand_over_waiting_calls() -> int:
    """Hand over again what no worker has taken; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, {"once_s": HAND_OVER_ONCE_MORE_AFTER_S, "again_s": HAND_OVER_AGAIN_AFTER_S})
        waiting = [call_id for (call_id,) in cursor.fetchall()]
    for call_id in waiting:
        # Whether it is limited is not on record; to settle one that is not changes nothing.
        message = CallMessage(call_id, is_limited=True)
        current_app.send_task(
            RUN_CALL_TASK, kwargs=message.encode(), task_id=str(call_id), queue=QUEUE, ignore_result=True
        )
    return len(waiting)
