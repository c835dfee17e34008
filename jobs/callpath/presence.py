"""A process's heartbeat: as long as it beats, what the process answers for is still being done."""

import asyncio
import logging
import os
import socket
import uuid

from django.conf import settings

from config.foundation import async_database, background
from config.foundation.errors import DependencyUnavailable
from jobs.callpath.statements import HEARTBEAT, LEAVE

logger = logging.getLogger(__name__)


class Presence:
    """A row of CallProcess, kept fresh. Needs the event loop that it will live on.

    Its beats do not queue behind the calls' statements: a busy process is not a dead one.
    """

    def __init__(self, kind: str) -> None:
        self.id = uuid.uuid4()
        self._name = f"{kind} {socket.gethostname()}:{os.getpid()}"
        self._beating = asyncio.create_task(self._beat())

    async def leave(self) -> None:
        """Say good-bye, so that nobody waits for the heartbeat to grow old."""
        await background.stop(self._beating)
        try:
            await async_database.fetch_all(LEAVE, {"process_id": self.id})
        except DependencyUnavailable:
            logger.warning("the database was away when this process left")

    async def _beat(self) -> None:
        while True:
            try:
                await async_database.fetch_all(HEARTBEAT, {"process_id": self.id, "name": self._name}, lane="health")
            except DependencyUnavailable:
                logger.warning("no heartbeat: the database is away")
            except Exception:
                logger.exception("no heartbeat")
            await asyncio.sleep(settings.WORKER_HEARTBEAT_S)
