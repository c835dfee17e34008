"""Quantiles from counts in buckets."""

from collections.abc import Sequence

from jobs.models.day_rollup import LATENCY_BOUNDS_MS


def quantile_ms(buckets: Sequence[int], share: float) -> int | None:
    """The latency that so large a share of them did not exceed; None where there are none.

    Within a bucket they are taken to be spread evenly; what is above the last bound is taken for that bound.
    """
    total = sum(buckets)
    if not total:
        return None
    rank, below = share * total, 0
    for number, count in enumerate(buckets):
        if below + count >= rank and count:
            lower = LATENCY_BOUNDS_MS[number - 1] if number else 0
            upper = LATENCY_BOUNDS_MS[min(number, len(LATENCY_BOUNDS_MS) - 1)]
            return round(lower + (upper - lower) * (rank - below) / count)
        below += count
    return LATENCY_BOUNDS_MS[-1]
