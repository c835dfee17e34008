"""What is asked for at the same time is done as one.

A statement costs the same parsing, round trip and commit whether it is about one call or about twenty. So the first
to ask is served at once, and whoever asks while that is under way is served together with all others who do: a lone
caller waits for nobody, and the busier a process is, the less each caller costs (docs/adr/0014).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class _Queue(Generic[Item, Result]):
    """One event loop's."""

    waiting: "list[tuple[Item, asyncio.Future[Result]]]" = field(default_factory=list)
    worker: "asyncio.Task[None] | None" = None


class Batcher(Generic[Item, Result]):
    """`await batcher(item)` gives the item's own result out of `run(items)`, which returns one per item, in order.

    What `run` raises is raised to everybody in that batch; where `one_by_one` says so of an exception, each item is
    first tried again alone, so that one that is refused does not take its neighbours with it.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[Sequence[Result]]],
        *,
        most: int = 64,
        one_by_one: type[Exception] | tuple[type[Exception], ...] = (),
    ) -> None:
        self._run = run
        self._most = most
        self._one_by_one = one_by_one
        self._alone: set[asyncio.Task[None]] = set()
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue[Item, Result]] = WeakKeyDictionary()

    async def __call__(self, item: Item) -> Result:
        """The item's result. Raises what `run` raises."""
        loop = asyncio.get_running_loop()
        queue = self._queues.setdefault(loop, _Queue())
        result: asyncio.Future[Result] = loop.create_future()
        queue.waiting.append((item, result))
        if queue.worker is None:
            queue.worker = loop.create_task(self._work(queue))
        return await result

    async def _work(self, queue: _Queue[Item, Result]) -> None:
        try:
            while queue.waiting:
                batch, queue.waiting = queue.waiting[: self._most], queue.waiting[self._most :]
                await self._serve(batch)
        finally:
            queue.worker = None

    async def _serve(self, batch: "list[tuple[Item, asyncio.Future[Result]]]") -> None:
        try:
            results = await self._run([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 (everybody in the batch gets it)
            if len(batch) > 1 and isinstance(error, self._one_by_one):
                # Beside the batches that follow: those must not wait for what keeps this one.
                for single in batch:
                    task = asyncio.get_running_loop().create_task(self._serve([single]))
                    self._alone.add(task)
                    task.add_done_callback(self._alone.discard)
                return
            for _, result in batch:
                if not result.done():
                    result.set_exception(error)
            return
        for (_, result), value in zip(batch, results, strict=True):
            # Whoever has stopped waiting has cancelled it.
            if not result.done():
                result.set_result(value)
