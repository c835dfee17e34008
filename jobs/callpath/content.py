"""What was asked and answered, as it is kept: encrypted JSON (`jobs.models.CallContent`)."""

import json
from typing import Any

from django.conf import settings
from django.db import connection

from config.foundation import encryption
from jobs.callpath.messages import Reply
from jobs.models import Call

#: A client whose connection breaks in the middle of the answer shall be able to ask again, so it is not erased at once.
_FETCHED = """
    UPDATE jobs_callcontent content
    SET erase_at = LEAST(content.erase_at, now() + make_interval(secs => %(fetched_ttl_s)s))
    FROM jobs_call c JOIN tenancy_team t ON t.id = c.team_id
    WHERE content.call_id = %(call_id)s AND c.id = content.call_id AND t.keep_content_s IS NULL
"""

Request = tuple[list[dict[str, Any]], dict[str, Any]]


def encrypt_request(messages: list[dict[str, Any]], parameters: dict[str, Any]) -> bytes:
    """What a client asked."""
    return encryption.encrypt(json.dumps({"messages": messages, "parameters": parameters}).encode())


def fetch_answer(call: Call) -> Reply | None:
    """A call's answer, where one is kept. Unless its team keeps it, it will be erased soon after it was fetched."""
    stored = getattr(call, "content", None)
    if stored is None or stored.answer is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(_FETCHED, {"call_id": call.id, "fetched_ttl_s": settings.FETCHED_ANSWER_TTL_S})
    return Reply.decode(encryption.decrypt(bytes(stored.answer)))


def decrypt_request(stored: bytes) -> Request:
    """The reverse: (messages, parameters)."""
    request = json.loads(encryption.decrypt(bytes(stored)))
    return request["messages"], request["parameters"]
