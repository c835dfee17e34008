"""The limits of one process: as exact where there are many of them, and no work for what does not count any more."""

import pytest

from jobs.callpath.limits import local
from jobs.callpath.limits.local import LocalLimits
from jobs.callpath.limits.subjects import Kind, Limit

WIDTH_S, BUCKETS = 0.5, 120


@pytest.fixture
def limits() -> LocalLimits:
    return LocalLimits(width_s=WIDTH_S, buckets=BUCKETS)


def requests(name: str, most: int) -> Limit:
    return Limit(f"team:{name}", Kind.REQUESTS, most)


def test_a_window_that_was_just_made_counts(limits: LocalLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are so many that empty ones are forgotten."""
    monkeypatch.setattr(local, "MAX_WINDOWS", 1)
    amounts = [(requests("a", 1), 1), (requests("b", 5), 1)]

    first, second = (limits.admit(amounts, now=100.0) for _ in range(2))

    assert first.refused_by is None
    assert second.refused_by == requests("a", 1)


def test_what_is_taken_within_a_bucket_is_one_figure(limits: LocalLimits) -> None:
    many = requests("a", 10_000)
    for index in range(1000):
        assert limits.admit([(many, 1)], now=100.0 + index * 0.001).refused_by is None

    (window,) = limits._windows.values()
    assert list(window.taken) == [(200, 500), (201, 500)]
    assert window.used == 1000
    # Each bucket ages out as a whole.
    assert limits.admit([(many, 0)], now=160.5).places[0].remaining == 9500
    assert limits.admit([(many, 0)], now=161.0).places[0].remaining == 10_000


def test_empty_windows_are_forgotten_once_per_bucket(limits: LocalLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MAX_WINDOWS", 3)
    for name in "abc":
        limits.admit([(requests(name, 5), 1)], now=100.0)
    looks: list[int] = []
    forget = local._Window.forget

    def counted(window: local._Window, before: int) -> None:
        looks.append(before)
        forget(window, before)

    monkeypatch.setattr(local._Window, "forget", counted)

    for _ in range(10):
        limits.admit([(requests("a", 100), 1)], now=130.0)

    # Each admission looks at its own; one of them at all three.
    assert len(looks) == 10 + 3
    assert len(limits._windows) == 3
    limits.admit([(requests("d", 5), 1)], now=161.0)
    assert set(limits._windows) == {requests("a", 5).key, requests("d", 5).key}
