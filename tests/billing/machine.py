"""The ledger as a state machine for Hypothesis, next to a model of it that is too simple to be wrong."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from billing import ledger
from billing.errors import InsufficientCredits
from billing.models import CreditAccount, LedgerEntry
from billing.services.refills import RefillOrder, RefillRow, refill
from billing.services.teams import open_team
from tenancy.models import Organization
from tests.support.ledger import correct, give, hold, place, write_off

#: In one query, because it is asked after every step.
STATE = """
    SELECT allocated, used, held, last_sequence,
           ARRAY(SELECT remaining FROM billing_creditgrant WHERE account_id = team_id ORDER BY sequence)
    FROM billing_creditaccount WHERE team_id = %s
"""
NOW = datetime(2035, 1, 1, tzinfo=UTC)


@dataclass
class Grant:
    """A model of a grant. `day` None: never expires."""

    number: int
    left: int
    priority: int = 100
    day: int | None = None

    @property
    def turn(self) -> tuple[int, float, int]:
        return (self.priority, float("inf") if self.day is None else self.day, self.number)


@dataclass
class Account:
    """A model of an account: sums, and the grants in a list."""

    allocated: int = 0
    used: int = 0
    entries: int = 0
    limit: int | None = None
    grants: list[Grant] = field(default_factory=list)
    #: Job → what became of its hold.
    jobs: dict[uuid.UUID, str] = field(default_factory=dict)

    @property
    def held(self) -> int:
        return list(self.jobs.values()).count("held")

    @property
    def available(self) -> int:
        return self.allocated - self.used - self.held

    def give(self, amount: int, priority: int = 100, day: int | None = None) -> None:
        self.allocated += amount
        self.entries += 1
        self.grants.append(Grant(self.entries, amount, priority, day))

    def take(self, amount: int, grants: list[Grant] | None = None) -> None:
        self.entries += 1
        for grant in sorted(self.grants if grants is None else grants, key=lambda grant: grant.turn):
            drawn = min(amount, grant.left)
            grant.left -= drawn
            amount -= drawn
        assert amount == 0


class LedgerMachine(RuleBasedStateMachine):
    """Every rule does one thing to the database and to the model, and compares what they answer."""

    def __init__(self) -> None:
        super().__init__()
        self.day = 0
        self.batches: dict[tuple[str, int], int] = {}
        self.model = Account()
        Organization.objects.get_or_create(organization_id="org_machine", defaults={"name": "m"})
        self.team_id = f"team_{uuid.uuid4().hex}"
        opened = open_team(
            organization_id="org_machine", team_id=self.team_id, team_alias="", model_groups=[], credits_allocated=0,
            metadata={}, actor="test",
        )  # fmt: skip
        self.team_pk = opened.overview.team.pk

    # --- What can be done to an account -------------------------------------------------------------------

    @rule(amount=st.integers(1, 6), priority=st.sampled_from([1, 100]), days=st.none() | st.integers(1, 3))
    def grant(self, amount: int, priority: int, days: int | None) -> None:
        day = None if days is None else self.day + days
        expires_at = None if day is None else NOW + timedelta(days=day)
        give(self.team_pk, amount, kind="promotion", priority=priority, expires_at=expires_at)
        self.model.give(amount, priority, day)

    @rule(amount=st.integers(-5, 5).filter(bool))
    def adjust(self, amount: int) -> None:
        if self.model.available + amount < 0:
            with pytest.raises(InsufficientCredits):
                correct(self.team_pk, amount)
            return
        correct(self.team_pk, amount)
        if amount > 0:
            self.model.give(amount)
        else:
            self.model.allocated += amount
            self.model.take(-amount)

    @rule(limit=st.none() | st.integers(0, 12))
    def limit(self, limit: int | None) -> None:
        CreditAccount.objects.filter(pk=self.team_pk).update(credit_limit=limit)
        self.model.limit = limit

    @rule(batch=st.sampled_from(["x", "y"]), number=st.integers(1, 2), amount=st.integers(1, 4), to=st.booleans())
    def refill(self, batch: str, number: int, amount: int, to: bool) -> None:
        """Also a replay, wherever the batch and the number came before."""
        row = RefillRow(1, self.team_id, None if to else amount, amount * 2 if to else None, number=number)
        (result,) = refill(rows=[row], order=RefillOrder(batch, actor="test"))
        model, before = self.model, self.batches.get((batch, number))
        room = None if model.limit is None else model.limit - (model.allocated - model.used)
        if before is not None:
            assert result.outcome == ("already_applied" if to or before == amount else "refused")
            return
        wanted = amount * 2 - model.available if to else amount
        if not to and room is not None and wanted > room:
            assert result.outcome == "refused"
            return
        added = max(0, wanted if room is None else min(wanted, room))
        assert (result.outcome, result.amount) == ("applied" if added else "nothing_to_add", added)
        self.batches[batch, number] = added
        if added:
            model.give(added)

    @rule()
    def open(self) -> None:
        job_id = hold(self.team_pk)
        assert (job_id is not None) is (self.model.available > 0)
        if job_id is not None:
            self.model.jobs[job_id] = "held"

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data(), how=st.sampled_from(["captured", "captured", "released", "expired"]))
    def end(self, data: st.DataObject, how: Any) -> None:
        """Any job, ended or not: whoever ends it again changes nothing."""
        job_id = data.draw(st.sampled_from(list(self.model.jobs)))
        if how == "captured":
            ended = ledger.capture_hold(job_id=job_id, reason="x", actor="test")
        else:
            ended = ledger.release_hold(job_id=job_id, as_state=how)
        assert (ended is not None) is (self.model.jobs[job_id] == "held")
        if ended is None:
            return
        self.model.jobs[job_id] = how
        if how == "captured":
            self.model.used += 1
            self.model.take(1)
        assert (ended.state, ended.credits_remaining) == (how, self.model.allocated - self.model.used)

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def open_again(self, data: st.DataObject) -> None:
        """A job's hold cannot be placed twice."""
        job_id = data.draw(st.sampled_from(list(self.model.jobs)))
        assert place(self.team_pk, job_id) == ("one_hold_per_job" if self.model.available else ledger.OVERDRAWN)

    @rule(days=st.integers(0, 2))
    def expire(self, days: int) -> None:
        """Time passes, and expired credits are written off; twice, which must be as good as once."""
        self.day += days
        written_off = sum(write_off(self.team_pk, NOW + timedelta(days=self.day)) for _ in range(2))
        expected = 0
        for grant in sorted(self.model.grants, key=lambda grant: grant.turn):
            amount = min(grant.left, self.model.available)
            if grant.day is not None and grant.day <= self.day and amount > 0:
                self.model.allocated -= amount
                self.model.take(amount, [grant])
                expected += amount
        assert written_off == expected

    # --- What holds after every step ----------------------------------------------------------------------

    @invariant()
    def agrees_with_the_model(self) -> None:
        model = self.model
        with connection.cursor() as cursor:
            cursor.execute(STATE, [self.team_pk])
            *numbers, grants = cursor.fetchone()
        assert numbers == [model.allocated, model.used, model.held, model.entries]
        assert grants == [grant.left for grant in model.grants]

    def teardown(self) -> None:
        """Jobs were charged once each, by entries that add up. All else is for verify_ledger, after all runs."""
        entries = list(LedgerEntry.objects.filter(account_id=self.team_pk).order_by("sequence"))
        assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
        balance = 0
        for entry in entries:
            balance += entry.amount
            assert entry.balance_after == balance
        charged = {job for job, state in self.model.jobs.items() if state == "captured"}
        deductions = [entry.job_id for entry in entries if entry.kind == "deduction"]
        assert sorted(map(str, deductions)) == sorted(map(str, charged))
