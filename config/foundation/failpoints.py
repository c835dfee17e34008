"""Named points at which a process dies, as by `kill -9`, for tests of what is left then (tests/faults).

The environment variable FAILPOINTS names a folder. A process that comes by `failpoint("worker.claimed")` dies there
if the folder has a file of that name, which goes with it: so it dies once, and which one is chosen while it runs.
Without FAILPOINTS they do nothing; settings refuse it in production.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

from django.conf import settings

_FOLDER = Path(settings.FAILPOINTS) if settings.FAILPOINTS else None


def failpoint(name: str) -> None:
    """Die here, if this point is armed."""
    if _FOLDER is not None:
        _die_if_armed(_FOLDER / name)


def _die_if_armed(point: Path) -> None:
    with suppress(FileNotFoundError):
        # Whoever removes it dies: two processes that come by together are not both killed.
        point.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
