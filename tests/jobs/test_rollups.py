"""Rollups are what the rows add up to, whatever happened in between."""

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.utils import timezone

from billing.models import LedgerEntry
from billing.services.credits import add_credits
from jobs.models import Attempt, Call, CallDay, CreditDay, Job, JobDay, LateChange, ModelDay, RollupDay
from jobs.models.day_rollup import LATENCY_BOUNDS_MS
from jobs.queries.latencies import quantile_ms
from jobs.services import rollups
from jobs.services.rollups import refresh_rollups
from tests.support.api import Tenant, make_tenant

#: Days close only once no older transaction runs, and a test's own would, or that of a test in another process.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.alone]

ROLLUPS = (JobDay, CallDay, ModelDay, CreditDay)


def today() -> date:
    return timezone.now().astimezone(UTC).date()


def noon(days_ago: int) -> datetime:
    return datetime.combine(today() - timedelta(days=days_ago), datetime.min.time(), UTC) + timedelta(minutes=1)


def day_of(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def bucket(latency_ms: int | None) -> int | None:
    return None if latency_ms is None else sum(bound <= latency_ms for bound in LATENCY_BOUNDS_MS)


def summed_up() -> dict[str, Any]:
    """What the rollups say."""
    calls = {
        (row.day, row.team_id, row.state, row.cause): (row.calls, tuple(row.latency_buckets))
        for row in CallDay.objects.all()
    }
    models = {
        (row.day, row.team_id, row.model_name): (
            row.attempts,
            row.failures,
            row.prompt_tokens + row.completion_tokens,
            row.cost_usd,
            sum(row.latency_buckets),
        )
        for row in ModelDay.objects.all()
    }
    return {
        "jobs": {(row.day, row.team_id, row.job_type, row.status): row.jobs for row in JobDay.objects.all()},
        "calls": calls,
        "models": models,
        "credits": {
            (row.day, row.team_id): (row.entries, row.used, row.added, row.removed) for row in CreditDay.objects.all()
        },
    }


def added_up() -> dict[str, Any]:
    """The same from the rows, in Python."""
    jobs: Counter[Any] = Counter()
    for job in Job.objects.all():
        for team in (job.team_id, None):
            jobs[day_of(job.created_at), team, job.job_type, job.status] += 1
    calls: dict[Any, list[int | None]] = {}
    for call in Call.objects.all():
        for team in (call.team_id, None):
            calls.setdefault((day_of(call.created_at), team, call.state, call.cause), []).append(
                bucket(call.latency_ms)
            )
    models: dict[Any, list[Any]] = {}
    for attempt in Attempt.objects.select_related("call"):
        for team in (attempt.call.team_id, None):
            sums = models.setdefault((day_of(attempt.started_at), team, attempt.model_name), [0, 0, 0, Decimal(0), 0])
            sums[0] += 1
            sums[1] += attempt.outcome == "failed"
            sums[2] += attempt.prompt_tokens + attempt.completion_tokens
            sums[3] += attempt.cost_usd or 0
            sums[4] += 1
    credit: dict[Any, list[int]] = {}
    for entry in LedgerEntry.objects.all():
        for team in (entry.account_id, None):
            sums = credit.setdefault((day_of(entry.created_at), team), [0, 0, 0, 0])
            sums[0] += 1
            sums[1] -= entry.amount if entry.kind == "deduction" else 0
            sums[2] += max(entry.amount, 0)
            sums[3] -= min(entry.amount, 0) if entry.kind != "deduction" else 0
    size = len(LATENCY_BOUNDS_MS) + 1
    return {
        "jobs": dict(jobs),
        "calls": {
            key: (len(found), tuple(found.count(number) for number in range(size))) for key, found in calls.items()
        },
        "models": {key: tuple(sums) for key, sums in models.items()},
        "credits": {key: tuple(sums) for key, sums in credit.items()},
    }


def open_job(team_pk: int, created_at: datetime, **fields: Any) -> Job:
    fields = {"job_type": "parse", "expires_at": created_at, **fields}
    job = Job(team_id=team_pk, **fields)
    # Made at once, and not moved there by an update: that would be a change of its own.
    Job._meta.get_field("created_at").auto_now_add = False
    try:
        job.created_at = created_at
        job.save(force_insert=True)
    finally:
        Job._meta.get_field("created_at").auto_now_add = True
    return job


class History:
    """Things that happen, to days of this week."""

    def __init__(self, seed: int, teams: list[Tenant]) -> None:
        self.random = random.Random(seed)
        self.teams = teams

    def go_on(self, steps: int) -> None:
        acts: list[Callable[[], None]] = [self.new_job, self.new_job, self.end_job, self.new_call, self.new_call]
        acts += [self.end_call, self.end_call, self.late_cost, self.withdraw, self.add_credits, self.correct]
        for _ in range(steps):
            self.random.choice(acts)()

    def one(self, rows: Any) -> Any:
        found = list(rows.order_by("pk"))
        return self.random.choice(found) if found else None

    def new_job(self) -> None:
        team = self.random.choice(self.teams)
        open_job(team.team_pk, noon(self.random.randrange(6)), job_type=self.random.choice(["a", "b"]))

    def end_job(self) -> None:
        if job := self.one(Job.objects.filter(ended_at=None)):
            status = self.random.choice(["completed", "failed"])
            Job.objects.filter(pk=job.pk).update(status=status, ended_at=timezone.now())

    def new_call(self) -> None:
        if job := self.one(Job.objects.all()):
            call = Call.objects.create(job=job, team_id=job.team_id, model_group="g", deadline_at=timezone.now())
            Call.objects.filter(pk=call.pk).update(created_at=job.created_at)

    def end_call(self) -> None:
        call = self.one(Call.objects.filter(ended_at=None))
        if call is None:
            return
        failed = self.random.random() < 0.4
        cost_usd = self.random.choice([None, Decimal("0.000000000001"), Decimal("1.5")])
        Attempt.objects.create(
            call=call,
            sequence=1,
            model_name=self.random.choice(["m1", "m2"]),
            outcome="failed" if failed else "succeeded",
            cause="timeout" if failed else "",
            latency_ms=self.random.choice([0, 9, 10, 700, 10**6]),
            prompt_tokens=3,
            cost_usd=cost_usd,
            started_at=call.created_at + timedelta(seconds=1),
        )
        Call.objects.filter(pk=call.pk).update(
            state="failed" if failed else "succeeded",
            cause="timeout" if failed else "",
            ended_at=timezone.now(),
            latency_ms=self.random.choice([0, 14, 15, 999, 10**6]),
            cost_usd=cost_usd or 0,
        )

    def late_cost(self) -> None:
        """A call that the sweeper has ended, and whose worker comes back after all."""
        if call := self.one(Call.objects.exclude(ended_at=None)):
            sequence = call.attempts.count() + 1
            late = {"outcome": "succeeded", "latency_ms": 5, "cost_usd": Decimal("0.25")}
            Attempt.objects.create(call=call, sequence=sequence, model_name="m3", started_at=call.created_at, **late)

    def withdraw(self) -> None:
        if call := self.one(Call.objects.filter(state="queued")):
            call.delete()

    def add_credits(self) -> None:
        team = self.random.choice(self.teams)
        add_credits(team_pk=team.team_pk, amount=self.random.randrange(1, 9), reason="x", metadata={}, actor="test")

    def correct(self) -> None:
        """On an earlier day, which no service does."""
        team = self.random.choice(self.teams)
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO billing_ledgerentry
                    (id, account_id, sequence, kind, amount, balance_after, reason, metadata, actor, created_at, digest)
                VALUES (gen_random_uuid(), %s, 0, 'adjustment', -1, 0, '', '{}', 'test', %s, '')
                """,
                [team.team_pk, noon(self.random.randrange(6))],
            )


@pytest.fixture
def teams() -> list[Tenant]:
    return [make_tenant("a", credits_allocated=1000), make_tenant("b", credits_allocated=1000)]


@pytest.mark.parametrize("seed", range(3))
def test_rollups_equal_the_rows_after_any_history(seed: int, teams: list[Tenant]) -> None:
    history = History(seed, teams)
    for _ in range(6):
        history.go_on(25)
        refresh_rollups()
        assert summed_up() == added_up()
    assert LateChange.objects.count() == 0


@pytest.fixture(params=["an error", "a lost connection"])
def killed_half_way(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A round that ends in the middle of a day."""
    passed: list[str] = []

    def die(name: str) -> None:
        passed.append(name)
        if len(passed) == 2:
            if request.param == "an error":
                raise DatabaseError("killed")
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    def run() -> None:
        passed.clear()
        with monkeypatch.context() as patched:
            patched.setattr(rollups, "failpoint", die)
            with pytest.raises(DatabaseError):
                refresh_rollups()
        connection.close()

    yield run
    connection.close()


def test_a_round_that_is_killed_changes_nothing_and_the_next_one_does_all(
    teams: list[Tenant], killed_half_way: Callable[[], None]
) -> None:
    history = History(7, teams)
    history.go_on(60)
    refresh_rollups()
    before = summed_up()
    history.go_on(60)
    marks = LateChange.objects.count()
    killed_half_way()
    assert summed_up() == before
    assert LateChange.objects.count() == marks > 0
    refresh_rollups()
    assert summed_up() == added_up() != before


def test_days_that_are_over_close_and_only_a_mark_reopens_them(teams: list[Tenant]) -> None:
    job = open_job(teams[0].team_pk, noon(3))
    for _ in range(3):
        refresh_rollups()
    assert RollupDay.objects.get(day=day_of(noon(3))).is_closed
    assert not RollupDay.objects.get(day=today()).is_closed
    assert refresh_rollups() == 1
    Job.objects.filter(pk=job.pk).update(status="failed", ended_at=timezone.now())
    assert refresh_rollups() == 2
    assert summed_up() == added_up()


def test_what_happens_on_its_own_day_is_not_marked(teams: list[Tenant]) -> None:
    job = open_job(teams[0].team_pk, timezone.now())
    Job.objects.filter(pk=job.pk).update(status="failed", ended_at=timezone.now())
    assert LateChange.objects.count() == 0


def test_a_round_over_unchanged_days_writes_no_rollup(teams: list[Tenant]) -> None:
    History(1, teams).go_on(80)
    refresh_rollups()

    def versions() -> list[Any]:
        found = []
        with connection.cursor() as cursor:
            for model in ROLLUPS:
                cursor.execute(f"SELECT id, xmin::text FROM {model._meta.db_table} ORDER BY id")  # noqa: S608
                found += cursor.fetchall()
        return found

    before = versions()
    refresh_rollups()
    assert versions() == before != []


def test_a_transaction_that_began_on_its_day_and_commits_late_is_not_lost(teams: list[Tenant]) -> None:
    """It wrote before midnight, so its row has no mark; the day must not close before it is over."""
    yesterday = day_of(noon(1))
    RollupDay.objects.create(day=yesterday)
    settings = connection.get_connection_params()
    wanted = {name: settings[name] for name in ("host", "port", "user", "password", "dbname") if settings.get(name)}
    with psycopg.connect(**wanted) as late:
        # As if it were still yesterday: without the triggers.
        late.execute("SET LOCAL session_replication_role = replica")
        late.execute(
            """
            INSERT INTO jobs_job (id, team_id, user_id, job_type, status, metadata, error_message, created_at,
                                  expires_at, ends_with_call)
            VALUES (%s, %s, '', 'late', 'pending', '{}', '', %s, now(), false)
            """,
            [uuid.uuid4(), teams[0].team_pk, noon(1)],
        )
        for _ in range(3):
            refresh_rollups()
        assert not RollupDay.objects.get(day=yesterday).is_closed
        assert not JobDay.objects.filter(job_type="late").exists()
        late.commit()
    refresh_rollups()
    assert JobDay.objects.get(job_type="late", team=None).jobs == 1
    assert RollupDay.objects.get(day=yesterday).is_closed
    assert LateChange.objects.count() == 0


def test_days_on_which_beat_was_away_are_summed_up(teams: list[Tenant]) -> None:
    RollupDay.objects.create(day=today() - timedelta(days=3), is_closed=True)
    open_job(teams[0].team_pk, noon(2))
    LateChange.objects.all().delete()
    refresh_rollups()
    assert summed_up() == added_up()
    assert RollupDay.objects.count() == 4


def test_a_day_that_somebody_else_is_at_is_left_to_him(teams: list[Tenant]) -> None:
    settings = connection.get_connection_params()
    wanted = {name: settings[name] for name in ("host", "port", "user", "password", "dbname") if settings.get(name)}
    with psycopg.connect(**wanted) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtext('rollups'), %s)", [today().toordinal()])
        assert refresh_rollups() == 0
    assert refresh_rollups() == 1


def test_a_rebuild_sums_up_every_day_of_a_range(teams: list[Tenant], capsys: pytest.CaptureFixture[str]) -> None:
    History(2, teams).go_on(80)
    call_command("rebuild_rollups")
    assert summed_up() == added_up()
    JobDay.objects.update(jobs=99)
    CreditDay.objects.all().delete()
    call_command("rebuild_rollups", "--from", str(today() - timedelta(days=9)))
    call_command("rebuild_rollups", "--from", str(today()), "--to", str(today()))
    assert summed_up() == added_up()
    assert "summed up 10 days" in capsys.readouterr().out


def test_a_rebuild_of_no_range_is_refused() -> None:
    with pytest.raises(CommandError):
        call_command("rebuild_rollups", "--from", "2026-01-02", "--to", "2026-01-01")
    with pytest.raises(CommandError):
        call_command("rebuild_rollups", "--to", str(today() + timedelta(days=1)))


def test_a_quantile_is_within_its_bucket() -> None:
    empty = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    assert quantile_ms(empty, 0.95) is None
    counts = empty.copy()
    counts[LATENCY_BOUNDS_MS.index(1000)] = 100  # From 700 up to 1000.
    assert quantile_ms(counts, 0.95) == 985
    counts[-1] = 100
    assert quantile_ms(counts, 0.95) == LATENCY_BOUNDS_MS[-1]
    counts[0] = 10_000
    assert quantile_ms(counts, 0.95) == 10
