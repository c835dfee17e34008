"""Whatever happens to an account, in whatever order: it agrees with a model that is too simple to be wrong."""

import uuid
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import ledger
from billing.errors import InsufficientCredits
from billing.models import CreditAccount, CreditHold, LedgerEntry
from config.foundation.constraints import violated
from tests.support.api import make_tenant

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("allocate"), st.integers(1, 5)),
        st.tuples(st.just("adjust"), st.integers(-4, 4).filter(bool)),
        st.tuples(st.just("hold"), st.just(0)),
        st.tuples(st.just("capture"), st.integers(0, 30)),
        st.tuples(st.just("release"), st.integers(0, 30)),
    ),
    max_size=40,
)


class Account:
    """The model: three numbers and the open holds."""

    def __init__(self) -> None:
        self.allocated = self.used = 0
        self.open: list[uuid.UUID] = []
        self.jobs: list[uuid.UUID] = []

    @property
    def available(self) -> int:
        return self.allocated - self.used - len(self.open)


def hold(team_pk: int, job_id: uuid.UUID) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(ledger.PLACE_HOLD, {"hold_id": uuid.uuid4(), "team_pk": team_pk, "job_id": job_id})
    except IntegrityError as error:
        broken = violated(error)
    else:
        return True
    assert broken == ledger.OVERDRAWN
    return False


def do(model: Account, team_pk: int, action: str, number: int) -> None:
    common: dict[str, Any] = {"reason": "", "metadata": {}, "actor": "test"}
    job = model.jobs[number % len(model.jobs)] if model.jobs else uuid.uuid4()
    if action == "allocate":
        ledger.allocate(team_pk=team_pk, amount=number, **common)
        model.allocated += number
    elif action == "adjust" and model.available + number < 0:
        with pytest.raises(InsufficientCredits):
            ledger.adjust(team_pk=team_pk, amount=number, **common)
    elif action == "adjust":
        ledger.adjust(team_pk=team_pk, amount=number, **common)
        model.allocated += number
    elif action == "hold":
        job = uuid.uuid4()
        assert hold(team_pk, job) is (model.available > 0)
        if model.available > 0:
            model.open.append(job)
            model.jobs.append(job)
    else:
        ended = (
            ledger.capture_hold(job_id=job, reason="", actor="test")
            if action == "capture"
            else ledger.release_hold(job_id=job)
        )
        assert (ended is not None) is (job in model.open)
        if job in model.open:
            model.open.remove(job)
            model.used += action == "capture"


@pytest.mark.django_db
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_account_agrees_with_the_model_after_every_step(steps: list[tuple[str, int]]) -> None:
    with transaction.atomic():
        team_pk = make_tenant(uuid.uuid4().hex, credits_allocated=0, groups=[]).team_pk
        model = Account()
        for action, number in steps:
            do(model, team_pk, action, number)
            account = CreditAccount.objects.get(pk=team_pk)
            assert (account.allocated, account.used, account.held) == (model.allocated, model.used, len(model.open))
        entries = LedgerEntry.objects.filter(account_id=team_pk)
        assert (entries.aggregate(sum=Sum("amount"))["sum"] or 0) == model.allocated - model.used
        assert list(entries.order_by("sequence").values_list("sequence", flat=True)) == list(range(1, len(entries) + 1))
        assert CreditHold.objects.filter(account_id=team_pk, state="held").count() == len(model.open)
