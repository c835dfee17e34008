"""The request parser: strict JSON within the endpoint's size limit."""

from collections.abc import Mapping
from typing import IO, Any, cast

from django.conf import settings
from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from config.foundation import strict_json
from config.foundation.errors import PayloadTooLarge


def read_json(stream: IO[bytes], limit_bytes: int) -> Any:
    """Parse a body of at most `limit_bytes`. Raises PayloadTooLarge, InvalidInput. An empty body is {}."""
    raw = stream.read(limit_bytes + 1)
    if len(raw) > limit_bytes:
        raise PayloadTooLarge(f"Request body is larger than {limit_bytes} bytes")
    return strict_json.parse(raw) if raw.strip() else {}


class StrictJSONParser(BaseParser):
    """DRF's side of it. It takes any content type: the guide's own sample sends a malformed header."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """The body as Python data. Raises PayloadTooLarge, InvalidInput."""
        return read_json(stream, settings.MAX_BODY_BYTES)


def request_json(request: HttpRequest, limit_bytes: int) -> Any:
    """The same for a coroutine view, whose body ASGI has already read."""
    return read_json(cast(IO[bytes], request), limit_bytes)
