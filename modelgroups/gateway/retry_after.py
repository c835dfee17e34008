"""When a provider says that it may be asked again: the header `Retry-After` (RFC 9110, 10.2.3) and OpenAI's own."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Whoever says more means "not now"; a call's deadline is far below.
LONGEST_S = 24 * 3600.0


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds from now, at least 0; None where the provider says nothing, or nothing that makes sense."""
    return _number(headers.get("retry-after-ms"), 1000) or _seconds_or_date(headers.get("retry-after"))


def _seconds_or_date(text: str | None) -> float | None:
    seconds = _number(text, 1)
    if seconds is not None or not text:
        return seconds
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - datetime.now(UTC)).total_seconds(), 0.0), LONGEST_S)


def _number(text: str | None, divisor: int) -> float | None:
    try:
        number = float(text or "") / divisor
    except ValueError:
        return None
    # Neither a negative number nor "nan".
    return min(number, LONGEST_S) if number >= 0 else None
