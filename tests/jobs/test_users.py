"""A team's users: seen by their jobs and calls, blocked, and held to what they may use."""

import hashlib
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from billing.models import TeamBudget
from billing.queries.books import breaches
from jobs.api.openai.requests import _user
from jobs.callpath import admission
from jobs.callpath.admission import CallRequest, NewJob, admit, open_job_and_admit
from jobs.models import Call, Job
from jobs.queries.books import JOB_RULES
from jobs.services.jobs import OpenedJob, end_job, open_job
from modelgroups.services.groups import ModelSpec
from tenancy.errors import TeamUserBlocked, UserLimitReached
from tenancy.models import TeamUser, UserLimit
from tenancy.queries.principals import TeamRef
from tenancy.queries.users import allowances_of, is_user_id, stored_user_id
from tenancy.services.users import begin_erasure, change_user
from tests.concurrency.threads import at_once
from tests.support.api import Tenant, make_group, make_tenant
from tests.support.coroutines import run

pytestmark = pytest.mark.django_db(transaction=True)
PRICED = {"input_cost_per_token": 0, "output_cost_per_token": 0.01, "mock_response": "Hello"}


@pytest.fixture
def team(transactional_db: None) -> Tenant:
    make_group("Priced", [ModelSpec("dear", 0, PRICED)])
    return make_tenant(groups=["Priced"], credits_allocated=100)


def reference(team: Tenant) -> TeamRef:
    return TeamRef(team.team_pk, team.team_id, team.organization_id, is_suspended=False)


def opened(team: Tenant, user_id: str = "bob") -> Job:
    job = open_job(team=reference(team), virtual_key_id=None, job_type="x", user_id=user_id, metadata={})
    return Job.objects.get(pk=job.job_id)


def called(team: Tenant, *, job: Job | None = None, user_id: str = "", max_tokens: int = 40) -> Call:
    """As an OpenAI client's call is admitted; it may cost a cent per token."""
    messages = [{"role": "user", "content": "Hello"}]
    parameters = {"max_tokens": max_tokens}
    request = CallRequest("Priced", messages, parameters, endpoint="chat/completions", user_id=user_id)
    return Call.objects.get(
        pk=run(lambda: admit(team=reference(team), job_id=job.id if job else None, request=request))
    )


def ended(call: Call, *, cost_usd: str = "0") -> None:
    Call.objects.filter(pk=call.pk).update(state="succeeded", ended_at=timezone.now(), cost_usd=Decimal(cost_usd))


def limited(team: Tenant, **limits: str | None) -> TeamUser:
    amounts = {kind: None if amount is None else Decimal(amount) for kind, amount in limits.items()}
    user = TeamUser.objects.get(team_id=team.team_pk, user_id="bob")
    return change_user(user_pk=user.pk, limits=amounts, actor="test")


def fail(job: Job) -> None:
    end_job(job_id=job.id, team_pk=None, status="failed", metadata={}, error_message="", actor="test")


def taken(kind: str) -> tuple[Any, Any]:
    limit = UserLimit.objects.get(kind=kind)
    return limit.taken, limit.reserved


def test_a_user_is_made_on_first_sight_and_known_afterwards(team: Tenant) -> None:
    first, second = opened(team), opened(team)

    user = TeamUser.objects.get()
    assert (user.team_id, user.user_id, user.status) == (team.team_pk, "bob", "active")
    assert first.team_user_id == second.team_user_id == user.pk
    assert opened(team, "").team_user_id is None
    assert TeamUser.objects.count() == 1


def test_the_same_name_in_another_team_is_somebody_else(team: Tenant) -> None:
    assert opened(team).team_user_id != opened(make_tenant("b", groups=[])).team_user_id


def test_it_is_written_down_once_an_hour_that_he_was_seen(team: Tenant) -> None:
    opened(team)
    recent = timezone.now() - timedelta(minutes=59)
    TeamUser.objects.update(last_seen_at=recent)
    opened(team)
    assert TeamUser.objects.get().last_seen_at == recent

    TeamUser.objects.update(last_seen_at=timezone.now() - timedelta(minutes=61))
    called(team, user_id="bob")
    assert timezone.now() - TeamUser.objects.get().last_seen_at < timedelta(minutes=1)


def test_a_call_is_its_jobs_users_unless_it_names_one(team: Tenant) -> None:
    job = opened(team)
    bob = job.team_user_id

    assert called(team, job=job).team_user_id == bob
    assert called(team, job=opened(team, "")).team_user_id is None
    named = called(team, job=job, user_id="alice")
    assert named.team_user_id == TeamUser.objects.get(user_id="alice").pk != bob
    assert called(team, user_id="alice").team_user_id == named.team_user_id
    assert called(team).team_user_id is None


def test_job_and_call_of_one_request_are_one_persons(team: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though his name goes between the two."""
    opened(team)
    bob = TeamUser.objects.get()

    def open_and_erase(**job: Any) -> OpenedJob:
        made = open_job(**job)
        at_once([partial(begin_erasure, user_pk=bob.pk, actor="test")])
        return made

    monkeypatch.setattr(admission, "open_job", open_and_erase)
    job = NewJob(job_type="x", user_id="bob", metadata={}, virtual_key_id=None)
    messages = [{"role": "user", "content": "Hello"}]
    request = CallRequest("Priced", messages, {"max_tokens": 4}, endpoint="chat/completions", user_id="bob")

    job_id, call_id = open_job_and_admit(team=reference(team), job=job, request=request)

    assert Job.objects.get(pk=job_id).team_user_id == Call.objects.get(pk=call_id).team_user_id == bob.pk
    assert TeamUser.objects.get().status == "erasing"


def test_a_refused_call_makes_no_user(team: Tenant) -> None:
    job = opened(team, "")
    fail(job)
    with pytest.raises(Exception, match="already"):
        called(team, job=job, user_id="alice")
    assert TeamUser.objects.count() == 0


def test_a_blocked_user_is_refused_and_nothing_is_held(team: Tenant) -> None:
    job = opened(team)
    bob = TeamUser.objects.get().pk
    change_user(user_pk=bob, status="blocked", limits={}, actor="test")

    with pytest.raises(TeamUserBlocked):
        opened(team)
    for options in ({"job": job}, {"user_id": "bob"}):
        with pytest.raises(TeamUserBlocked):
            called(team, **options)

    assert (Job.objects.count(), Call.objects.count()) == (1, 0)
    assert breaches(JOB_RULES) == []
    change_user(user_pk=bob, status="active", limits={}, actor="test")
    opened(team)


def test_credits_of_a_month_are_those_held_and_charged(team: Tenant) -> None:
    opened(team)
    limited(team, credits="3")
    second = opened(team)
    assert taken("credits") == (2, 0)
    opened(team)

    with pytest.raises(UserLimitReached, match="credits per month"):
        opened(team)
    assert Job.objects.count() == 3
    assert opened(team, "alice")

    fail(second)
    assert taken("credits") == (2, 0)
    opened(team)
    limited(team, credits=None)
    opened(team)


def test_a_charged_credit_stays_taken(team: Tenant) -> None:
    opened(team)
    limited(team, credits="1")
    job = Job.objects.get()
    end_job(job_id=job.id, team_pk=None, status="completed", metadata={}, error_message="", actor="test")

    with pytest.raises(UserLimitReached):
        opened(team)


def test_what_was_used_before_is_counted_when_the_limit_is_set(team: Tenant) -> None:
    """Not by those who are refused: they would count it again and again, and forget it each time."""
    opened(team)
    opened(team)
    ended(called(team, user_id="bob"), cost_usd="0.25")
    called(team, user_id="bob", max_tokens=10)

    bob = limited(team, credits="1", direct_cost="0.125")

    assert (taken("credits"), taken("direct_cost")) == ((2, 0), (Decimal("0.25"), Decimal("0.10")))
    used = {kind: (allowance.taken, allowance.reserved) for kind, allowance in allowances_of(bob).items()}
    assert used == {"credits": (2, 0), "direct_cost": (Decimal("0.25"), Decimal("0.10"))}
    with pytest.raises(UserLimitReached):
        opened(team)
    with pytest.raises(UserLimitReached):
        called(team, user_id="bob")


def test_a_limit_that_is_set_while_a_job_is_opened_counts_it(team: Tenant) -> None:
    opened(team)
    is_open = threading.Event()

    def open_slowly() -> None:
        with transaction.atomic():
            opened(team)
            is_open.set()
            time.sleep(0.3)

    def limit() -> None:
        assert is_open.wait(10)
        limited(team, credits="5")

    assert at_once([open_slowly, limit]) == [None, None]
    assert taken("credits") == (2, 0)


def test_a_limit_that_is_set_while_a_call_is_admitted_counts_it(team: Tenant) -> None:
    call = called(team, user_id="bob")
    is_settled = threading.Event()

    def settle_slowly() -> None:
        with transaction.atomic():
            ended(call, cost_usd="0.25")
            is_settled.set()
            time.sleep(0.3)

    def limit() -> None:
        assert is_settled.wait(10)
        limited(team, direct_cost="5")

    assert at_once([settle_slowly, limit]) == [None, None]
    assert taken("direct_cost") == (Decimal("0.25"), 0)


def test_a_new_month_counts_anew(team: Tenant) -> None:
    old = opened(team)
    limited(team, credits="1")
    last_month = datetime.now(UTC).replace(day=1) - timedelta(days=1)
    Job.objects.update(created_at=last_month)
    UserLimit.objects.update(month=last_month.date().replace(day=1), taken=1)

    opened(team)

    assert taken("credits") == (1, 0)
    fail(old)
    assert taken("credits") == (1, 0)
    with pytest.raises(UserLimitReached):
        opened(team)


def test_jobs_and_calls_of_one_statement_count_once(team: Tenant) -> None:
    """In a month in which nothing was counted yet, too."""
    bob = limited_in_old_months(team)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH ids AS MATERIALIZED (SELECT gen_random_uuid() AS id FROM generate_series(1, 2)),
            hold AS (
                INSERT INTO billing_credithold (id, account_id, job_id, amount, state, created_at)
                SELECT gen_random_uuid(), %(team)s, id, 1, 'held', now() FROM ids
            )
            INSERT INTO jobs_job
                (id, team_id, team_user_id, user_id, job_type, status, metadata, error_message, created_at, expires_at,
                 ends_with_call)
            SELECT id, %(team)s, %(user)s, 'bob', 'x', 'pending', '{}', '', now(), now(), false FROM ids
            """,
            {"team": team.team_pk, "user": bob.pk},
        )
    call = {"team_id": team.team_pk, "team_user": bob, "model_group": "G", "deadline_at": timezone.now()}
    Call.objects.bulk_create([Call(**call, reserved_usd=Decimal("0.5")) for _ in range(2)])

    assert (taken("credits"), taken("direct_cost")) == ((2, 0), (0, 1))


def limited_in_old_months(team: Tenant) -> TeamUser:
    """Of whom nothing was counted in this one."""
    fail(opened(team))
    bob = limited(team, credits="5", direct_cost="5")
    UserLimit.objects.update(month=(datetime.now(UTC).replace(day=1) - timedelta(days=1)).date().replace(day=1))
    return bob


def test_direct_calls_are_reserved_and_settled(team: Tenant) -> None:
    called(team, user_id="bob", max_tokens=10)
    limited(team, direct_cost="0.50")
    call = called(team, user_id="bob", max_tokens=20)
    assert taken("direct_cost") == (0, Decimal("0.30"))

    with pytest.raises(UserLimitReached, match="USD per month"):
        called(team, user_id="bob", max_tokens=21)
    assert Call.objects.count() == 2

    ended(call, cost_usd="0.05")
    assert taken("direct_cost") == (Decimal("0.05"), Decimal("0.10"))
    called(team, user_id="bob", max_tokens=35)
    assert TeamBudget.objects.get(pk=team.team_pk).reserved_usd == taken("direct_cost")[1] == Decimal("0.45")


def test_one_call_at_a_time_passes_while_anything_is_left(team: Tenant) -> None:
    opened(team)
    limited(team, direct_cost="0.10")
    call = called(team, user_id="bob", max_tokens=50)
    with pytest.raises(UserLimitReached):
        called(team, user_id="bob", max_tokens=1)

    ended(call, cost_usd="0.10")
    with pytest.raises(UserLimitReached):
        called(team, user_id="bob", max_tokens=1)


def test_calls_in_jobs_are_not_held_to_the_cost_of_direct_ones(team: Tenant) -> None:
    job = opened(team)
    limited(team, direct_cost="0")
    called(team, job=job)
    with pytest.raises(UserLimitReached):
        called(team, user_id="bob")


def test_a_withdrawn_call_gives_its_cost_back(team: Tenant) -> None:
    opened(team)
    limited(team, direct_cost="1")
    call = called(team, user_id="bob")
    assert taken("direct_cost") == (0, Decimal("0.40"))
    call.delete()
    assert taken("direct_cost") == (0, 0)


@pytest.mark.parametrize("text", ["bob", "bob@example.com", "Jürgen Müller", "a%2Fb", "用户", "x" * 128, "a b?c#d"])
def test_a_printable_name_is_stored_as_it_is(text: str) -> None:
    assert stored_user_id(text) == text
    assert is_user_id(text)


@pytest.mark.parametrize(
    "text", ["a/b", "x" * 129, "line\nbreak", "..", ".", "~erased-0", "\x00", "a\u202eb", "\ud800"]
)
def test_another_is_stored_as_its_digest(text: str) -> None:
    stored = stored_user_id(text)
    assert stored == "~" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    assert is_user_id(stored)


def test_openais_words_for_a_user() -> None:
    assert _user({"user": "a", "safety_identifier": "b"}) == "a"
    assert _user({"user": "", "safety_identifier": "b"}) == "b"
    assert _user({"user": 7, "safety_identifier": None}) == ""
    assert _user({"user": "x" * 500}).startswith("~")


def test_of_eight_that_see_somebody_first_all_get_the_same(team: Tenant) -> None:
    jobs = at_once([partial(opened, team)] * 8)
    assert {job.team_user_id for job in jobs} == {TeamUser.objects.get().pk}


def test_of_eight_at_once_as_many_pass_as_the_limit_has_left(team: Tenant) -> None:
    opened(team)
    limited(team, credits="4")

    results = at_once([partial(opened, team)] * 8)

    assert sorted(type(result).__name__ for result in results) == ["Job"] * 3 + ["UserLimitReached"] * 5
    assert taken("credits") == (4, 0)
