"""Tasks that run beside the requests until their process ends."""

import asyncio
from typing import Any

PATIENCE_S = 0.5


async def stop(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel them until they are over, whatever they end with.

    Once is not enough: before Python 3.12 `asyncio.wait_for`, in which psycopg waits, swallows a cancellation that
    comes in the moment in which what it waits for is done (https://github.com/python/cpython/issues/86296). A loop that
    went on after that kept a process from ever ending.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=PATIENCE_S)
    # Fetched, or asyncio would complain that nobody did.
    await asyncio.gather(*tasks, return_exceptions=True)
