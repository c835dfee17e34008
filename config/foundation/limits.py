"""The contract's limits on what clients send, stated once."""

import json
import re
from typing import Any

from config.foundation.errors import InvalidInput

CLIENT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
CLIENT_ID_RULE = "must be 1 to 128 characters out of letters, digits and _ . : -"
MAX_METADATA_BYTES = 16 * 1024
#: Credits fit a bigint many times over; more than a billion in one go is a typing mistake.
MAX_CREDITS = 1_000_000_000


def check_client_id(value: str, *, field: str) -> str:
    """An id from a path or a query string. Raises InvalidInput."""
    if not CLIENT_ID.fullmatch(value):
        raise InvalidInput(CLIENT_ID_RULE, field=field)
    return value


def is_metadata_too_large(metadata: dict[str, Any]) -> bool:
    """Whether an object is larger, as JSON, than metadata may be."""
    return len(json.dumps(metadata, ensure_ascii=False).encode()) > MAX_METADATA_BYTES
