"""The `Idempotency-Key` header on views that create or spend."""

import hashlib
import json
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response

from config.foundation.api.renderers import JSONRenderer
from config.foundation.errors import InvalidInput
from tenancy.api.permissions import principal_of
from tenancy.services import idempotency

MAX_KEY_LENGTH = 255

Handler = Callable[..., Response]


def read_idempotency_key(headers: Any) -> str | None:
    """The header's value, None where it is absent. Raises InvalidInput."""
    key: str | None = headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        raise InvalidInput(f"must be 1 to {MAX_KEY_LENGTH} printable ASCII characters", field="Idempotency-Key")
    return key


def hash_request(method: str, path: str, body: Any) -> bytes:
    """What a key is bound to: method, path, and the body whatever the order of its fields."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{method} {path}\n{canonical}".encode()).digest()


def idempotent(handler: Handler) -> Handler:
    """Make a view's method answer a repeated key with the first answer, and do its work once.

    Work and stored answer commit together. An error is not stored: nothing was done, so the same key may
    be tried again once its cause is gone.
    """

    @wraps(handler)
    def wrapper(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = read_idempotency_key(request.headers)
        if key is None:
            return handler(view, request, *args, **kwargs)
        scope = principal_of(request).idempotency_scope
        with transaction.atomic():
            request_hash = hash_request(request.method or "", request.path, request.data)
            stored = idempotency.begin(scope=scope, key=key, request_hash=request_hash)
            if stored is not None:
                return Response(json.loads(stored), headers={"Idempotency-Replayed": "true"})
            response = handler(view, request, *args, **kwargs)
            reply = JSONRenderer().render(response.data)
            # What tells of a job's calls has their purposes, and is found by the job.
            about = UUID(str(response.data["job_id"])) if "calls" in response.data else None
            idempotency.finish(scope=scope, key=key, reply=reply, about=about)
        return response

    return wrapper
