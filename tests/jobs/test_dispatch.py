"""A call on its way to a worker, while the database goes away."""

import asyncio
from typing import Any

import pytest
from django.db import OperationalError

from config.foundation.errors import DependencyUnavailable
from jobs.callpath import dispatch
from jobs.callpath.admission import CallRequest, NewJob, open_job_and_admit
from jobs.callpath.dispatch import Form, Order
from jobs.callpath.idempotency import CallKey
from jobs.models import Call
from tenancy.models import IdempotencyRecord
from tenancy.queries.principals import TeamRef
from tests.support.api import Tenant
from tests.support.coroutines import run


@pytest.mark.django_db(transaction=True)
def test_a_job_and_call_whose_commit_nobody_saw_are_taken_back(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the call were open, and its Idempotency-Key in use, until the call's deadline."""

    def commit_unseen(**given: Any) -> None:
        open_job_and_admit(**given)
        assert Call.objects.count() == 1
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(dispatch, "open_job_and_admit", commit_unseen)
    order = Order(
        team=TeamRef(tenant.team_pk, tenant.team_id, tenant.organization_id, is_suspended=False),
        job=NewJob(job_type="x", user_id="", metadata={}, virtual_key_id=None),
        request=CallRequest("Group-a", [{"role": "user", "content": "x"}], {}, key=CallKey("team:a", "once")),
        form=Form.ANSWER,
        request_hash=b"x",
    )

    async def order_a_call() -> None:
        with pytest.raises(DependencyUnavailable):
            await dispatch.dispatch(order)
        await asyncio.gather(*dispatch._running)

    run(order_a_call)
    assert not Call.objects.exists()
    assert not IdempotencyRecord.objects.exists()
