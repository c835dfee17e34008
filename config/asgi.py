"""The ASGI entry point: API paths by a handler of our own, everything else by Django's.

Django's handler gives every request a thread of its own, which it keeps until the answer is out: the request
signals and each classic middleware hop into it. An LLM call waits for seconds, so hundreds of waiting calls
would be hundreds of threads. `ApiHandler` runs a coroutine view where it is, and an ordinary view in one of a
few threads; the API needs none of the middleware (it has keys, not cookies) and none of the signals.
"""

import asyncio
import contextlib
import io
import logging
import os
import warnings
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Only here: see DATABASE_POOL_SIZE in config/settings.py.
os.environ.setdefault("DATABASE_POOL_SIZE", "6")

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.exceptions import DisallowedHost, ImproperlyConfigured, RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.db import close_old_connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve

django_application = get_asgi_application()

from config import errors, middleware
from config.foundation import async_database
from config.foundation.api.coroutine_views import EventStream
from config.foundation.errors import PayloadTooLarge
from jobs.callpath import dispatch

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

logger = logging.getLogger(__name__)

# WhiteNoise streams files from a synchronous iterator, which Django reads in one go under ASGI. That is fine for
# the console's few small files, and no news at every one of them.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

#: How much of a body that is too large is read and thrown away, for the sake of a readable refusal.
DISCARD_BYTES = 64 * 1024 * 1024

#: How the paths end whose bodies hold prompts.
CALL_PATHS = ("/llm-call", "/create-and-call", "/chat/completions", "/completions", "/embeddings", "/responses")

if settings.AUTH_MODE == "open":
    if not settings.DEBUG:
        raise ImproperlyConfigured("AUTH_MODE=open is for development only: it needs DJANGO_DEBUG=1")
    logger.warning("OPEN MODE: provisioning calls from loopback need no key. Never expose this server.")


class ApiHandler(ASGIHandler):
    """Serves the API's paths; always answers in JSON."""

    def __init__(self) -> None:
        # Deliberately not calling super().__init__(), which would load the middleware.
        self.threads = ThreadPoolExecutor(settings.DATABASE_POOL_SIZE or 6, thread_name_prefix="api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or stop working on it when its client has gone."""
        is_call = scope["path"].endswith(CALL_PATHS)
        limit = settings.MAX_CALL_BODY_BYTES if is_call else settings.MAX_BODY_BYTES
        limited = _LimitedBody(receive, limit)
        try:
            body = await self.read_body(limited.receive)
        except RequestAborted:
            return
        except PayloadTooLarge as error:
            # Most clients read no answer before they have sent all, so let one finish that is not far from it.
            await limited.discard()
            await self._refuse(error, scope, send)
            return
        with body:
            request = ASGIRequest(scope, body)
            # DRF takes a body without a Content-Length, that is a chunked one, for empty.
            request.META["CONTENT_LENGTH"] = str(body.seek(0, io.SEEK_END))
            body.seek(0)
            await self._answer(request, receive, send)

    async def _refuse(self, error: PayloadTooLarge, scope: Scope, send: Send) -> None:
        request = ASGIRequest(scope, io.BytesIO())
        middleware.assign_request_id(request)
        response = errors.error_response(error, request)
        response.headers["Connection"] = "close"
        await self.send_response(middleware.finish(request, response), send)

    async def _answer(self, request: ASGIRequest, receive: Receive, send: Send) -> None:
        answering = asyncio.create_task(self._respond_and_send(request, send))
        gone = asyncio.create_task(self.listen_for_disconnect(receive))
        await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not answering.done():
            answering.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        with contextlib.suppress(asyncio.CancelledError):
            await answering

    async def _respond_and_send(self, request: ASGIRequest, send: Send) -> None:
        response = await self._respond(request)
        try:
            await self.send_response(response, send)
        finally:
            if isinstance(response, EventStream):
                await response.stop()
            response.close()

    async def _respond(self, request: ASGIRequest) -> HttpResponseBase:
        middleware.assign_request_id(request)
        try:
            request.get_host()
            match = resolve(request.path_info)
            request.resolver_match = match
            if iscoroutinefunction(match.func):
                response = await match.func(request, *match.args, **match.kwargs)
            else:
                view = partial(_run_in_thread, match.func, request, match.args, match.kwargs)
                response = await asyncio.get_running_loop().run_in_executor(self.threads, view)
        except DisallowedHost:
            response = errors.bad_request(request)
        except Resolver404:
            response = errors.not_found(request)
        except Exception:
            logger.exception(
                "%s %s failed (request %s)", request.method, request.path, middleware.request_id_of(request)
            )
            response = errors.server_error(request)
        return middleware.finish(request, response)


def _run_in_thread(view: Callable[..., Any], request: HttpRequest, args: Any, kwargs: Any) -> HttpResponseBase:
    """Run a Django or DRF view and hand its database connection back to the pool."""
    try:
        response: Any = view(request, *args, **kwargs)
        return response.render() if hasattr(response, "render") else response
    finally:
        close_old_connections()


class _LimitedBody:
    """`receive` that stops at a number of bytes, before they fill memory or disk."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._received = 0
        self._is_complete = False

    async def receive(self) -> Message:
        """The next message. Raises PayloadTooLarge."""
        message = await self._next()
        if self._received > self._limit:
            raise PayloadTooLarge(f"Request body is larger than {self._limit} bytes")
        return message

    async def discard(self) -> None:
        """Read the rest and throw it away, up to DISCARD_BYTES in all."""
        while not self._is_complete and self._received < DISCARD_BYTES:
            await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        # A message without "more_body" is the last one, and so is a disconnect.
        self._is_complete = not message.get("more_body", False)
        return message


api_handler = ApiHandler()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Route by scope: the server's life cycle, the API, the rest."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http" and middleware.is_api_path(scope["path"]):
        await api_handler(scope, receive, send)
    else:
        await django_application(scope, receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await dispatch.close()
            await async_database.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
