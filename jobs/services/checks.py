"""Test calls to one model: asked for here, made by a worker (`jobs.callpath.checks`)."""

import logging
import time
from datetime import timedelta
from functools import partial
from uuid import UUID

from celery import current_app
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from jobs.errors import ModelGone
from jobs.models import ModelCheck
from modelgroups.models import GroupModel
from tenancy.services import audit

logger = logging.getLogger(__name__)

CHECK_MODEL_TASK = "jobs.check_model"
#: The cause where the call was never sent.
NOT_HANDED_OVER = "broker_unavailable"
#: Checks are looked at when they are made, and perhaps the day after.
KEEP_FOR = timedelta(days=30)
#: How often the page that waits for an outcome looks.
LOOK_S = 0.2


@transaction.atomic
def request_check(*, model_pk: int, organization_pk: int | None, actor: str) -> ModelCheck:
    """Have a worker send one small chat call to the model, with the credential that this organization's teams have.

    No team is charged for it. Where it cannot be handed to a worker, it has failed. Raises ModelGone.
    """
    ModelCheck.objects.filter(created_at__lt=timezone.now() - KEEP_FOR).delete()
    model = GroupModel.objects.select_related("group").defer("api_key_encrypted").filter(pk=model_pk).first()
    if model is None:
        raise ModelGone
    check = ModelCheck.objects.create(
        model=model,
        group_name=model.group.group_name,
        model_name=model.model_name,
        organization_id=organization_pk,
        actor=actor,
    )
    audit.record(
        actor=actor,
        action="model.tested",
        subject=check.group_name,
        organization_pk=organization_pk,
        after={"model_name": check.model_name, "check_id": check.id},
    )
    transaction.on_commit(partial(_hand_over, check.id))
    return check


def _hand_over(check_id: UUID) -> None:
    try:
        current_app.send_task(CHECK_MODEL_TASK, kwargs={"check_id": str(check_id)})
    except OperationalError as error:
        logger.warning("the broker is away, so nobody tests the model: %s", error)
        ModelCheck.objects.filter(id=check_id, state=ModelCheck.State.QUEUED).update(
            state=ModelCheck.State.FAILED,
            cause=NOT_HANDED_OVER,
            error_class=type(error).__name__,
            ended_at=timezone.now(),
        )


def wait_for_check(check_id: UUID, *, within_s: float) -> None:
    """Return when it has ended, or that time is over. Outside any transaction, which would not see the end."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if ModelCheck.objects.exclude(ended_at=None).filter(id=check_id).exists():
            return
        time.sleep(LOOK_S)
