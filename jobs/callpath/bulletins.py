"""What all workers are told at once, over Redis pub/sub. What is said while Redis is away is missed."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from redis.exceptions import RedisError

from config.foundation import background
from jobs.callpath.connections import connect

logger = logging.getLogger(__name__)

#: The ids of streams whose client has gone.
CANCELLED = "calls:cancelled"
#: Models that rest (jobs.callpath.cooldown).
COOLING = "models:cooling"
#: A hash of what was said last of each model that rests, for who did not listen (jobs.callpath.resting).
RESTING = "models:resting"
RECONNECT_PAUSE_S = 0.2


class Bulletins:
    """A worker's side: it hears of each channel by its handler, which must not raise, and says things itself."""

    def __init__(self, handlers: Mapping[str, Callable[[bytes], None]]) -> None:
        self._handlers = handlers
        self._redis = connect()
        self._saying: set[asyncio.Task[None]] = set()
        self._listening = asyncio.create_task(self._listen())

    def say(self, channel: str, text: str) -> None:
        """Tell all workers, this one included, in a while."""
        task = asyncio.create_task(self._say(channel, text))
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)

    def keep(self, name: str, field: str, value: str, *, ttl_s: float) -> None:
        """Put it down where it can be read, in a while; all of `name` is forgotten when nothing is kept any more."""
        task = asyncio.create_task(self._keep(name, field, value, ttl_s))
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)

    async def close(self) -> None:
        """Hear and say no more."""
        await background.stop(self._listening, *self._saying)
        await self._redis.aclose()

    async def _say(self, channel: str, text: str) -> None:
        try:
            await self._redis.publish(channel, text)
        except RedisError as error:
            logger.warning("the other workers miss news of %s: %s", channel, error)

    async def _keep(self, name: str, field: str, value: str, ttl_s: float) -> None:
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.hset(name, field, value)
                pipeline.pexpire(name, round(ttl_s * 1000))
                await pipeline.execute()
        except RedisError as error:
            logger.warning("nobody will read of %s: %s", name, error)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as channels:
                    await channels.subscribe(*self._handlers)
                    async for message in channels.listen():
                        if message["type"] == "message":
                            self._handlers[message["channel"].decode()](message["data"])
            except RedisError as error:
                logger.warning("no news from the other processes: %s", error)
            await asyncio.sleep(RECONNECT_PAUSE_S)
