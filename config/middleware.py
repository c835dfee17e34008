"""What every answer carries: a request id, and for the API the headers of an API."""

import re
import uuid
from collections.abc import Awaitable, Callable
from functools import lru_cache
from urllib.parse import urlsplit

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from config.foundation.api.openai_errors import is_openai_path

API_PREFIXES = ("/api/", "/health")
#: Paths below /api/ that are pages for a browser.
BROWSER_PAGES = ("/api/docs",)

_CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def is_api_path(path: str) -> bool:
    """Whether the path belongs to the API and not to the console or the documentation's pages."""
    return (path.startswith(API_PREFIXES) and not path.startswith(BROWSER_PAGES)) or is_openai_path(path)


def assign_request_id(request: HttpRequest) -> None:
    """Give the request its id: the client's own `X-Request-Id` where it is well formed, else a new one."""
    proposed = request.headers.get("X-Request-Id", "")
    is_usable = _CLIENT_REQUEST_ID.fullmatch(proposed)
    request.request_id = proposed if is_usable else uuid.uuid4().hex  # type: ignore[attr-defined]


def request_id_of(request: HttpRequest) -> str:
    """The id given above."""
    return request.request_id  # type: ignore[attr-defined]


def finish(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Put the headers on that every answer carries."""
    response.headers["X-Request-Id"] = request_id_of(request)
    if is_api_path(request.path_info):
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        if not response.streaming:
            response.headers["Content-Length"] = str(len(response.content))  # type: ignore[attr-defined]
        if settings.SECURE_HSTS_SECONDS:
            response.headers["Strict-Transport-Security"] = f"max-age={settings.SECURE_HSTS_SECONDS}"
    return response


@lru_cache(maxsize=4)
def _policy(provider: str) -> str:
    """What a page may load and do: nothing from elsewhere, inside nobody's frame.

    django-unfold's scripts (Alpine) make functions out of attributes, and its templates have styles inline; so has
    Swagger UI. A form may also end at the provider of single sign-on, to which logging in by it leads.
    """
    sign_on = "".join(f" {part.scheme}://{part.netloc}" for part in [urlsplit(provider)] if part.netloc)
    return (
        "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self'{sign_on}"
    )


_Handler = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def request_id(get_response: _Handler) -> _Handler:
    """The two above, for requests that run through Django's own chain (`config.asgi` serves the API without)."""
    if iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> HttpResponseBase:
            assign_request_id(request)
            return finish(request, await get_response(request))

        markcoroutinefunction(middleware)
        return middleware

    def sync_middleware(request: HttpRequest) -> HttpResponseBase:
        assign_request_id(request)
        return finish(request, get_response(request))  # type: ignore[arg-type]

    return sync_middleware


@sync_and_async_middleware
def content_security_policy(get_response: _Handler) -> _Handler:
    """The policy above, on every page of the console and of the documentation."""
    if iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> HttpResponseBase:
            return _with_policy(await get_response(request))

        markcoroutinefunction(middleware)
        return middleware

    def sync_middleware(request: HttpRequest) -> HttpResponseBase:
        return _with_policy(get_response(request))  # type: ignore[arg-type]

    return sync_middleware


def _with_policy(response: HttpResponseBase) -> HttpResponseBase:
    response.headers.setdefault("Content-Security-Policy", _policy(settings.CONSOLE_OIDC_URL))
    return response
