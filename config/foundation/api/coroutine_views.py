"""What DRF does around an ordinary view, for the few that are coroutines (DRF has none)."""

from collections.abc import Callable
from typing import Any, cast

from django.http import HttpRequest, JsonResponse
from rest_framework.response import Response
from rest_framework.settings import api_settings

from config.foundation.api.renderers import JSONEncoder


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
