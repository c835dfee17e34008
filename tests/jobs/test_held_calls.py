"""What a call takes of its limits: whose they are, what it is estimated at, and how it is told."""

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest

from jobs.api.limited import duration
from jobs.callpath.limits.held import Held, held_to, retry_after
from jobs.callpath.limits.limiter import Limiter
from jobs.callpath.limits.subjects import Kind, Subject
from jobs.errors import CallExceedsLimit, RateLimited, TooManyCalls
from modelgroups.gateway.ceilings import Ceiling
from tenancy.queries.principals import OPEN, KeyTerms, Principal, TeamRef

TEAM = TeamRef(1, "team_a", "org_a", is_suspended=False)


def limited(**limits: Any) -> Held:
    return Held([Subject("team", uuid.uuid4().hex, **limits)])


def taken(held: Held, ceiling: Ceiling | None = None) -> int:
    """What is left of the tokens, or of the requests, once a call has taken its part."""

    async def take() -> None:
        limiter = Limiter()
        try:
            await held.take(limiter, uuid.uuid4(), ceiling=ceiling, deadline_s=10)
        finally:
            await limiter.close()

    asyncio.run(take())
    place = held.standing.tightest(Kind.TOKENS) or held.standing.tightest(Kind.REQUESTS)
    assert place is not None
    return place.remaining


@pytest.mark.parametrize(
    ("limit", "ceiling", "estimate"),
    [
        (100_000, Ceiling(input=50, output=200), 250),
        (100_000, Ceiling(input=50, output=200, answers=3), 650),
        # Nobody has said how long the answer may be.
        (100_000, Ceiling(input=50, output=None), 1050),
        (100_000, Ceiling(input=50, output=None, answers=5), 5050),
        (100_000, Ceiling(input=50, output=None, answers=500), 10_050),
        # A tenth of a small limit, and never what makes the call too large.
        (2000, Ceiling(input=50, output=None), 250),
        (2000, Ceiling(input=1950, output=None), 2000),
        (9, Ceiling(input=9, output=None), 9),
    ],
)
def test_a_call_takes_what_it_may_take(limit: int, ceiling: Ceiling, estimate: int) -> None:
    held = limited(tokens_per_minute=limit)
    assert taken(held, ceiling) == limit - estimate
    assert held.is_taken


def test_what_a_call_that_is_refused_after_all_gives_back_is_told_as_given_back() -> None:
    """As it is then, with what others took meanwhile; a request it was."""
    limits = {"requests_per_minute": 5, "tokens_per_minute": 1000, "calls_in_flight": 5}
    held, call = limited(**limits), uuid.uuid4()
    other = Held(held.subjects)

    async def work() -> None:
        limiter = Limiter()
        await held.take(limiter, call, ceiling=Ceiling(10, 600), deadline_s=10)
        assert held.standing.places[1].remaining == 390
        await other.take(limiter, uuid.uuid4(), ceiling=Ceiling(10, 90), deadline_s=10)
        await held.give_back(limiter, call)
        await limiter.close()

    asyncio.run(work())

    requests, tokens, _ = held.standing.places
    assert (requests.remaining, tokens.remaining) == (4, 900)
    assert 59 < tokens.reset_s <= 60.5
    assert not held.is_taken


def test_where_nobody_else_took_any_all_tokens_are_there_at_once() -> None:
    held, call = limited(tokens_per_minute=1000), uuid.uuid4()

    async def work() -> None:
        limiter = Limiter()
        await held.take(limiter, call, ceiling=Ceiling(10, 600), deadline_s=10)
        await held.give_back(limiter, call)
        await limiter.close()

    asyncio.run(work())

    (tokens,) = held.standing.places
    assert (tokens.remaining, tokens.reset_s) == (1000, 0)


@pytest.mark.parametrize("ceiling", [Ceiling(input=2001, output=None), Ceiling(input=1, output=2000)])
def test_a_call_that_never_fits_is_told_so(ceiling: Ceiling) -> None:
    held = limited(tokens_per_minute=2000)
    with pytest.raises(
        CallExceedsLimit, match=r"it may take 2001 tokens, and this team may take 2000 tokens"
    ) as caught:
        taken(held, ceiling)
    assert caught.value.retry_after_s is None
    assert not held.is_taken


def test_a_refusal_says_which_limit_it_was() -> None:
    held = limited(requests_per_minute=1)
    assert taken(held) == 0
    again = Held(held.subjects)
    with pytest.raises(RateLimited, match=r"this team may take 1 requests per minute. Try again in 60 s") as caught:
        taken(again)
    assert caught.value.retry_after_s == 60
    assert again.standing.places
    slots = limited(calls_in_flight=0, requests_per_minute=1)
    with pytest.raises(TooManyCalls, match="at most 0 calls of a team"):
        taken(slots)


@pytest.mark.parametrize(
    ("wait_s", "told"), [(0.0, 1), (0.2, 1), (1.001, 2), (59.2, 60), (60.0, 60), (60.001, 60), (60.5, 60), (60.501, 61)]
)
def test_a_wait_is_rounded_up_but_not_beyond_what_clients_heed(wait_s: float, told: int) -> None:
    assert retry_after(wait_s) == told


def test_a_teams_own_limits_come_before_the_defaults(settings: Any) -> None:
    settings.TEAM_REQUESTS_PER_MINUTE, settings.KEY_TOKENS_PER_MINUTE, settings.KEY_CALLS_IN_FLIGHT = 10, 20, 30
    key = Principal("team", uuid.uuid4(), TEAM, key=KeyTerms(tokens_per_minute=2))
    team, of_key = held_to(TEAM, key).subjects

    assert (team.requests_per_minute, team.tokens_per_minute, team.calls_in_flight) == (10, None, None)
    assert (of_key.requests_per_minute, of_key.tokens_per_minute, of_key.calls_in_flight) == (None, 2, 30)


def test_without_limits_there_is_nobody_to_ask() -> None:
    assert held_to(TEAM, Principal("team", uuid.uuid4(), TEAM)).subjects == ()


def test_an_operators_call_is_held_to_the_teams_limits_alone(settings: Any) -> None:
    settings.TEAM_REQUESTS_PER_MINUTE = settings.KEY_REQUESTS_PER_MINUTE = 5
    for caller in (Principal("operator", uuid.uuid4()), OPEN):
        assert [subject.kind for subject in held_to(TEAM, caller).subjects] == ["team"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.02, "20ms"), (0.9996, "1s"), (1, "1s"), (8.64, "8.64s"), (59.9996, "1m0s"), (60, "1m0s"),
     (60.5, "1m0.5s"), (360, "6m0s")],
)  # fmt: skip
def test_durations_are_written_as_openai_does(seconds: Any, text: str) -> None:
    assert duration(seconds) == text


def test_a_call_that_names_a_user_is_held_to_his_limits_too() -> None:
    team = replace(TEAM, user_requests_per_minute=3, user_tokens_per_minute=4)
    caller = Principal("team", uuid.uuid4(), team)

    (bob,) = held_to(team, caller, user_id="bob").subjects
    (alice,) = held_to(team, caller, user_id="alice").subjects
    (foreign,) = held_to(replace(team, pk=team.pk + 1), caller, user_id="bob").subjects

    assert (bob.kind, bob.requests_per_minute, bob.tokens_per_minute, bob.calls_in_flight) == ("user", 3, 4, None)
    assert len({bob.id, alice.id, foreign.id}) == 3
    assert "bob" not in bob.id
    assert held_to(team, caller).subjects == ()


def test_a_users_refusal_says_whose_it_was() -> None:
    team = replace(TEAM, user_requests_per_minute=1)
    caller, user = Principal("team", uuid.uuid4(), team), uuid.uuid4().hex
    taken(held_to(team, caller, user_id=user))
    with pytest.raises(RateLimited, match="this user may take 1 requests per minute"):
        taken(held_to(team, caller, user_id=user))
    taken(held_to(team, caller, user_id=uuid.uuid4().hex))
