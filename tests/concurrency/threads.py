"""Many clients at once, each a thread with a database connection of its own."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from django.db import connection


def at_once(actions: Iterable[Callable[[], Any]]) -> list[Any]:
    """What the actions return or raise, in their order. They start together."""
    actions = list(actions)
    start = threading.Barrier(len(actions))
    results: list[Any] = [None] * len(actions)

    def run(number: int, action: Callable[[], Any]) -> None:
        try:
            connection.ensure_connection()
            start.wait(timeout=30)
            results[number] = action()
        except Exception as error:  # noqa: BLE001 (the test looks at it)
            results[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    return results
