"""Tasks beside the requests end when they are told to (config/foundation/background.py)."""

import asyncio
from contextlib import suppress

from config.foundation import background


async def deaf(times: int) -> None:
    """Swallows so many cancellations, as `asyncio.wait_for` may."""
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


async def broken() -> None:
    raise ValueError


def test_a_task_that_misses_a_cancellation_is_stopped_all_the_same() -> None:
    async def scene() -> None:
        tasks = [asyncio.create_task(deaf(times)) for times in (0, 1, 2)]
        await asyncio.sleep(0)
        await asyncio.wait_for(background.stop(*tasks), timeout=10)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(scene())


def test_one_that_has_ended_by_itself_disturbs_nobody() -> None:
    async def scene() -> None:
        tasks = [asyncio.create_task(broken()), asyncio.create_task(deaf(0))]
        await asyncio.sleep(0)
        await background.stop(*tasks)
        await background.stop()
        assert isinstance(tasks[0].exception(), ValueError)

    asyncio.run(scene())
