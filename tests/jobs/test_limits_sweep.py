"""Slots of calls in flight that nobody has freed: by what PostgreSQL says of the calls."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from django.conf import settings as django_settings
from django.utils import timezone

from jobs.callpath import admission
from jobs.callpath.limits import sweeping
from jobs.callpath.limits.limiter import Limiter
from jobs.callpath.limits.scripts import WITH_SLOTS
from jobs.callpath.limits.subjects import Kind, Standing, Subject
from jobs.callpath.limits.sweeping import settle_lost, settle_unheard
from jobs.models import Call
from modelgroups.gateway.endpoints import CHAT
from tenancy.queries.principals import TeamRef
from tests.support import coroutines
from tests.support.api import Tenant, make_tenant
from tests.support.limits import admit, left, run, subject

pytestmark = pytest.mark.django_db(transaction=True)
Counting = Callable[[int], AbstractContextManager[Any]]


@pytest.fixture
def server() -> Iterator[Any]:
    with redis.Redis.from_url(django_settings.REDIS_URL) as client:
        yield client


@pytest.fixture
def team(transactional_db: None) -> Tenant:
    return make_tenant()


def call_of(team: Tenant) -> UUID:
    reference = TeamRef(team.team_pk, team.team_id, team.organization_id, is_suspended=False)
    messages = [{"role": "user", "content": "Hello"}]
    request = admission.CallRequest(team.group_name, messages, {"max_tokens": 1}, endpoint=CHAT)
    return coroutines.run(lambda: admission.admit(team=reference, job_id=None, request=request))


def hold(limited: Subject, *calls: UUID) -> None:
    async def holding(limiter: Limiter) -> list[Standing]:
        return [await admit(limiter, limited, call_id=call, tokens=100) for call in calls]

    assert {standing.refused_by for standing in run(holding)} == {None}


def age(server: Any, *calls: UUID) -> None:
    """They have had their slots for so long that somebody should look."""
    assert server.zadd(WITH_SLOTS, {str(call): 0 for call in calls}, xx=True, ch=True) == len(calls)


def holders(server: Any, limited: Subject) -> set[UUID]:
    return {UUID(call.decode()) for call in server.zrange(f"limits:team:{limited.id}:calls", 0, -1)}


def test_a_slot_is_an_open_calls_alone(team: Tenant, server: Any, django_assert_num_queries: Counting) -> None:
    limited = subject(calls_in_flight=10, tokens_per_minute=1000)
    is_open, has_ended, has_failed, never_was, is_young = call_of(team), call_of(team), call_of(team), uuid4(), uuid4()
    hold(limited, is_open, has_ended, has_failed, never_was, is_young)
    age(server, is_open, has_ended, has_failed, never_was)
    ended = {"ended_at": timezone.now(), "prompt_tokens": 30, "completion_tokens": 10}
    Call.objects.filter(pk=has_ended).update(state="succeeded", **ended)
    Call.objects.filter(pk=has_failed).update(state="failed", cause="interrupted", **ended)

    with django_assert_num_queries(1):
        settle_unheard()

    assert holders(server, limited) == {is_open, is_young}
    # Of a success it is known what it took; else the estimate stays.
    assert left(run(lambda limiter: admit(limiter, limited)), Kind.TOKENS) == 1000 - 4 * 100 - 40
    Call.objects.filter(pk=is_open).update(state="succeeded", **ended)
    settle_unheard()
    assert is_open in holders(server, limited), "it was looked at just now"
    age(server, is_open)
    settle_unheard()
    assert is_open not in holders(server, limited)


def test_one_round_looks_at_so_many_and_the_next_at_others(
    team: Tenant, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited, calls = subject(calls_in_flight=10), [call_of(team) for _ in range(3)]
    lost = uuid4()
    hold(limited, *calls, lost)
    age(server, *calls, lost)
    server.zadd(WITH_SLOTS, {str(lost): 1}, xx=True)
    monkeypatch.setattr(sweeping, "MOST_LOOKS", 3)

    settle_unheard()
    assert lost in holders(server, limited)
    settle_unheard()
    assert holders(server, limited) == set(calls)


def test_without_calls_in_flight_postgresql_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Counting
) -> None:
    monkeypatch.setattr(sweeping, "WITH_SLOTS", f"limits:{uuid4()}")
    with django_assert_num_queries(0):
        settle_unheard()


def test_while_redis_is_away_it_is_left_to_a_later_round(
    team: Tenant, server: Any, settings: Any, django_assert_num_queries: Counting
) -> None:
    real, limited, lost = settings.REDIS_URL, subject(calls_in_flight=10), uuid4()
    hold(limited, lost)
    age(server, lost)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    with django_assert_num_queries(0):
        settle_unheard()
        settle_lost([lost])
    assert holders(server, limited) == {lost}

    settings.REDIS_URL = real
    settle_unheard()
    assert holders(server, limited) == set()
