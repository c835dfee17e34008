"""Whom a call is limited by, and how it stands with the limits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

#: By a limit's key: what is used of its window, and in how many seconds all of it is there again.
Windows = Mapping[str, tuple[int, float]]


class Kind(StrEnum):
    """What is limited."""

    #: Per window, a minute.
    REQUESTS = "requests"
    TOKENS = "tokens"
    #: At once.
    CALLS = "calls"


@dataclass(frozen=True)
class Limit:
    """At most so many of a kind for a subject, such as "team:17"."""

    subject: str
    kind: Kind
    most: int

    @property
    def owner(self) -> str:
        """In a word, whose it is: "team"."""
        return self.subject.partition(":")[0]

    @property
    def key(self) -> str:
        """Where Redis counts it."""
        return f"limits:{self.subject}:{self.kind}"


@dataclass(frozen=True)
class Subject:
    """One whose calls are counted together. `kind` is a word for clients, such as "team"; None is no limit."""

    kind: str
    id: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    calls_in_flight: int | None = None

    def limits(self) -> Iterator[Limit]:
        """Those that it has."""
        for kind, most in (
            (Kind.REQUESTS, self.requests_per_minute),
            (Kind.TOKENS, self.tokens_per_minute),
            (Kind.CALLS, self.calls_in_flight),
        ):
            if most is not None:
                yield Limit(f"{self.kind}:{self.id}", kind, most)


@dataclass(frozen=True)
class Place:
    """How it stands with one limit: what is left of it, and in how many seconds all of it is, if nothing more comes."""

    limit: Limit
    remaining: int
    reset_s: float


@dataclass(frozen=True)
class Standing:
    """How a call stands with all of its limits, itself included where it was admitted.

    `retry_after_s` belongs to a refusal: seconds after which each limit has room for the call, if nobody else takes it.
    None says that none of them ever has.
    """

    places: tuple[Place, ...] = ()
    refused_by: Limit | None = None
    retry_after_s: float | None = None

    def updated(self, windows: Windows) -> "Standing":
        """With these windows' figures."""
        places = []
        for place in self.places:
            used, reset_s = windows.get(place.limit.key, (place.limit.most - place.remaining, place.reset_s))
            places.append(replace(place, remaining=max(place.limit.most - used, 0), reset_s=reset_s))
        return replace(self, places=tuple(places))

    def tightest(self, kind: Kind) -> Place | None:
        """Of the limits of a kind the one of which the least is left; None where there is none."""
        places = [place for place in self.places if place.limit.kind is kind]
        return min(places, key=lambda place: (place.remaining, place.limit.most), default=None)
