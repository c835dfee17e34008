"""Calls of coroutine views and of the call path's own functions, each in an event loop that is cleaned up after."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from django.test import AsyncClient

from config.foundation import async_database
from jobs.callpath import dispatch

Result = TypeVar("Result")


def run(function: Callable[[], Awaitable[Result]]) -> Result:
    """Run it, then close what it left open on the loop. Its database sees committed rows only."""

    async def running() -> Result:
        try:
            return await function()
        finally:
            await dispatch.close()
            await async_database.close()

    return asyncio.run(running())


def llm_call(key: str | None, job_id: str, body: Any, *, headers: dict[str, str] | None = None) -> Any:
    """POST /api/jobs/{job_id}/llm-call in this process. Bytes are sent as they are."""
    authorization = {} if key is None else {"Authorization": f"Bearer {key}"}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def posting() -> Any:
        client = AsyncClient(raise_request_exception=False)
        path = f"/api/jobs/{job_id}/llm-call"
        return await client.post(
            path, raw, content_type="application/json", headers={**authorization, **(headers or {})}
        )

    return run(posting)
