"""What is asked for at the same time is done as one (config/foundation/batching.py)."""

import asyncio

import pytest

from config.foundation.batching import Batcher


class Refused(Exception):
    """One item's fault."""


class Service:
    """Doubles numbers, and refuses negative ones; each batch waits for a turn."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.turn = asyncio.Event()

    async def run(self, numbers: list[int]) -> list[int]:
        self.batches.append(numbers)
        await self.turn.wait()
        if any(number < 0 for number in numbers):
            raise Refused
        return [number * 2 for number in numbers]


def test_a_lone_caller_waits_for_nobody() -> None:
    async def scene() -> None:
        service = Service()
        service.turn.set()
        batcher = Batcher(service.run)
        assert [await batcher(number) for number in (1, 2)] == [2, 4]
        assert service.batches == [[1], [2]]

    asyncio.run(scene())


def test_who_comes_meanwhile_is_served_together_and_gets_his_own() -> None:
    async def scene() -> None:
        service = Service()
        batcher = Batcher(service.run, most=3)
        callers = [asyncio.create_task(batcher(0))]
        await asyncio.sleep(0.01)
        callers += [asyncio.create_task(batcher(number)) for number in range(1, 6)]
        await asyncio.sleep(0.01)
        assert service.batches == [[0]]
        service.turn.set()
        assert await asyncio.gather(*callers) == [0, 2, 4, 6, 8, 10]
        assert service.batches == [[0], [1, 2, 3], [4, 5]]

    asyncio.run(scene())


def test_an_error_is_everybodys_and_the_next_batch_goes_on() -> None:
    async def scene() -> None:
        service = Service()
        service.turn.set()
        batcher = Batcher(service.run)
        results = await asyncio.gather(batcher(1), batcher(-1), return_exceptions=True)
        assert [type(result) for result in results] == [Refused, Refused]
        assert await batcher(3) == 6

    asyncio.run(scene())


def test_one_that_is_refused_does_not_take_its_neighbours_with_it() -> None:
    async def scene() -> None:
        service = Service()
        service.turn.set()
        batcher = Batcher(service.run, one_by_one=Refused)
        results = await asyncio.gather(batcher(1), batcher(-1), batcher(2), return_exceptions=True)
        assert [results[0], type(results[1]), results[2]] == [2, Refused, 4]
        assert service.batches == [[1, -1, 2], [1], [-1], [2]]

    asyncio.run(scene())


def test_who_stops_waiting_keeps_nobody_from_his_result() -> None:
    async def scene() -> None:
        service = Service()
        batcher = Batcher(service.run)
        gone, stays = asyncio.create_task(batcher(1)), asyncio.create_task(batcher(2))
        await asyncio.sleep(0.01)
        gone.cancel()
        service.turn.set()
        assert await stays == 4
        with pytest.raises(asyncio.CancelledError):
            await gone

    asyncio.run(scene())


def test_each_event_loop_has_a_queue_of_its_own() -> None:
    service = Service.__new__(Service)
    service.batches = []

    async def scene() -> int:
        service.turn = asyncio.Event()
        service.turn.set()
        return await batcher(1)

    batcher = Batcher(service.run)
    assert [asyncio.run(scene()), asyncio.run(scene())] == [2, 2]
