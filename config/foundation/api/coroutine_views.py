"""What DRF does around an ordinary view, for the few that are coroutines (DRF has none)."""

import json
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from rest_framework.response import Response
from rest_framework.settings import api_settings

from config.foundation.api.renderers import JSONEncoder


class EventStream(StreamingHttpResponse):
    """Server-sent events. `stop` lets their source clean up at once, wherever the sending has stopped."""

    def __init__(self, first: bytes, following: AsyncGenerator[bytes, None], **kwargs: Any) -> None:
        super().__init__(self._all(first, following), content_type="text/event-stream", **kwargs)
        # nginx would else collect them.
        self.headers["X-Accel-Buffering"] = "no"
        self._following = following

    async def stop(self) -> None:
        """End the source."""
        await self._following.aclose()

    @staticmethod
    async def _all(first: bytes, following: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        yield first
        async for event in following:
            yield event


def event(data: Any, *, name: str | None = None) -> bytes:
    """One server-sent event with JSON as its data."""
    line = f"data: {json.dumps(data, cls=JSONEncoder)}\n\n"
    return (f"event: {name}\n{line}" if name else line).encode()


def json_answer(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> JsonResponse:
    """An answer in the API's JSON."""
    return JsonResponse(body, encoder=JSONEncoder, status=status, headers=headers)


def error_answer(error: Exception, request: HttpRequest) -> JsonResponse:
    """The answer to an error, by the project's one table. Raises the error again where it is a bug."""
    handler = cast(Callable[[Exception, dict[str, Any]], Response | None], api_settings.EXCEPTION_HANDLER)
    response = handler(error, {"request": request})
    if response is None:
        raise error
    headers = {name: value for name, value in response.headers.items() if name != "Content-Type"}
    return json_answer(response.data, status=response.status_code, headers=headers)
