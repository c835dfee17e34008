"""The limits of one process, for as long as Redis is away: requests and tokens, by the same windows.

What Redis has counted is not known here, nor what other processes admit. Calls in flight are then counted by
PostgreSQL alone.
"""

import math
from collections import deque
from collections.abc import Sequence

from jobs.callpath.limits.subjects import Kind, Limit, Place, Standing

#: More limits than are in use at a time; beyond it, windows that have run empty are forgotten, once per bucket.
MAX_WINDOWS = 10_000


class _Window:
    """What was taken in each bucket, oldest first."""

    def __init__(self) -> None:
        self.used = 0
        self.taken: deque[tuple[int, int]] = deque()

    def take(self, bucket: int, amount: int) -> None:
        """In a bucket that is not before the last one."""
        if not amount:
            return
        before = self.taken.pop()[1] if self.taken and self.taken[-1][0] == bucket else 0
        self.taken.append((bucket, before + amount))
        self.used += amount

    def forget(self, before: int) -> None:
        """What was taken before a bucket."""
        while self.taken and self.taken[0][0] < before:
            self.used -= self.taken.popleft()[1]


class LocalLimits:
    """`width_s` is a bucket's, and so many `buckets` are a window. Times are `now`'s, in seconds."""

    def __init__(self, *, width_s: float, buckets: int) -> None:
        self._width_s = width_s
        self._buckets = buckets
        self._windows: dict[str, _Window] = {}
        self._pruned_in = -1

    def admit(self, amounts: Sequence[tuple[Limit, int]], *, now: float) -> Standing:
        """Take all of the amounts, or none."""
        current = math.floor(now / self._width_s)
        self._prune(current)
        windows = [
            (limit, amount, self._window(limit, current)) for limit, amount in amounts if limit.kind != Kind.CALLS
        ]
        waits = [(self._wait_s(limit, amount, window, now), limit) for limit, amount, window in windows]
        refused = [(wait_s, limit) for wait_s, limit in waits if wait_s is None or wait_s > 0]
        if not refused:
            for _, amount, window in windows:
                window.take(current, amount)
            return Standing(self._places(windows, now))
        wait_s, limit = max(refused, key=lambda one: math.inf if one[0] is None else one[0])
        return Standing(self._places(windows, now), refused_by=limit, retry_after_s=wait_s)

    def _prune(self, current: int) -> None:
        if len(self._windows) < MAX_WINDOWS or self._pruned_in == current:
            return
        self._pruned_in = current
        for window in self._windows.values():
            window.forget(current - self._buckets)
        self._windows = {key: window for key, window in self._windows.items() if window.used}

    def _window(self, limit: Limit, current: int) -> _Window:
        window = self._windows.setdefault(limit.key, _Window())
        window.forget(current - self._buckets)
        return window

    def _wait_s(self, limit: Limit, amount: int, window: _Window, now: float) -> float | None:
        """Until there is room; None: never."""
        over = window.used + amount - limit.most
        if amount > limit.most:
            return None
        for bucket, taken in window.taken:
            if over <= 0:
                break
            over -= taken
            if over <= 0:
                return self._aged_out_at(bucket) - now
        return 0.0

    def _places(self, windows: Sequence[tuple[Limit, int, _Window]], now: float) -> tuple[Place, ...]:
        return tuple(
            Place(
                limit,
                max(limit.most - window.used, 0),
                self._aged_out_at(window.taken[-1][0]) - now if window.taken else 0.0,
            )
            for limit, _, window in windows
        )

    def _aged_out_at(self, bucket: int) -> float:
        return (bucket + self._buckets + 1) * self._width_s
