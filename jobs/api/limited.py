"""Answering a call, with how it stands with the limits of its team and its key."""

from collections.abc import Awaitable, Callable, Iterator

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from config.foundation.api.coroutine_views import error_answer
from jobs.callpath.dispatch import Order
from jobs.callpath.limits.subjects import Kind, Standing


async def answer_order(
    request: HttpRequest, reading: Awaitable[Order], make: Callable[[Order], Awaitable[HttpResponseBase]]
) -> HttpResponseBase:
    """What `make` answers to the order, or the error; with the headers, where the limits were asked."""
    standing = Standing()
    try:
        order = await reading
        try:
            response = await make(order)
        finally:
            standing = order.held.standing
    except Exception as error:  # noqa: BLE001 (error_answer raises again what is a bug)
        response = error_answer(error, request)
    for name, value in _headers(standing):
        response.headers[name] = value
    return response


def _headers(standing: Standing) -> Iterator[tuple[str, str]]:
    """OpenAI's, of the tightest limits."""
    for kind in (Kind.REQUESTS, Kind.TOKENS):
        place = standing.tightest(kind)
        if place is not None:
            yield f"x-ratelimit-limit-{kind}", str(place.limit.most)
            yield f"x-ratelimit-remaining-{kind}", str(place.remaining)
            yield f"x-ratelimit-reset-{kind}", duration(place.reset_s)


def duration(seconds: float) -> str:
    """As OpenAI writes it: 120ms, 8.64s, 1m0s."""
    ms = max(round(seconds * 1000), 0)
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    minutes, ms = divmod(ms, 60_000)
    rest = f"{ms / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
