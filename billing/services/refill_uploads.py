"""Refills by an uploaded file: read, looked at, confirmed, perhaps approved by somebody else, then carried out.

Every change of an upload's state is a compare-and-swap: who confirms, approves or cancels first has done it. The rows
are carried out by the maintenance worker, some hundred to a transaction that also writes down what became of them; so
a worker may be killed at any point, and whoever comes next goes on with the rows that are still pending.
"""

import csv
import hashlib
import io
import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

from celery import current_app
from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Sum
from django.utils import timezone
from kombu.exceptions import OperationalError

from billing.models import RefillUpload, RefillUploadRow
from billing.services.refill_csv import read_rows
from billing.services.refills import RefillOrder, RefillResult, RefillRow, numbered, plan_refill, refill
from config.foundation.constraints import violated
from config.foundation.errors import InvalidInput
from tenancy.services.audit import record

logger = logging.getLogger(__name__)

MAX_BYTES = 4 * 1024 * 1024
MAX_ROWS = 10_000
#: Of one transaction, as the command has it.
ROWS_PER_TRANSACTION = 500
#: Of one task: sweeps wait behind it.
RUN_FOR_S = 5.0
#: In which a person's uploads count together for approval.
COUNTED_TOGETHER = timedelta(hours=24)
TASK = "billing.run_refill_uploads"
State, Outcome = RefillUpload.State, RefillUploadRow.Outcome


def create_upload(
    *, upload_id: UUID, file_name: str, content: bytes, kind: str, user: User, actor: str
) -> RefillUpload:
    """Read the file and keep it for a preview; nobody gets credits yet. Sent again, it is the same upload.

    The transaction begins when the file is read and its rows are planned. Raises InvalidInput for a file that cannot
    be read, is too large, or differs, in itself or in its kind, from what came under this id before.
    """
    digest = hashlib.sha256(content).hexdigest()
    upload = RefillUpload(id=upload_id, file_name=_storable(file_name, 255), digest=digest, kind=kind, uploaded_by=user)
    results = plan_refill(rows=_read(content), order=RefillOrder(upload.batch, actor, kind))
    valid = [result for result in results if result.outcome == "applied"]
    upload.rows_total, upload.rows_valid = len(results), len(valid)
    upload.credits_total = sum(result.amount for result in valid)
    try:
        _keep(upload, [_row(upload, position, result) for position, result in enumerate(results, start=1)], actor)
    except IntegrityError as error:
        if violated(error) != "billing_refillupload_pkey":
            raise
        earlier = RefillUpload.objects.filter(pk=upload_id, uploaded_by=user, digest=digest, kind=kind).first()
        if earlier is None:
            raise InvalidInput("This form was sent before with another file or kind. Open it again.") from None
        return earlier
    return upload


@transaction.atomic
def _keep(upload: RefillUpload, rows: Sequence[RefillUploadRow], actor: str) -> None:
    upload.save(force_insert=True)
    RefillUploadRow.objects.bulk_create(rows, batch_size=1000)
    _record(upload, "uploaded", actor)


@transaction.atomic
def confirm_upload(*, upload_id: UUID, actor: str, reason: str = "") -> RefillUpload:
    """Have the valid rows carried out: at once, or after approval. Raises InvalidInput if it is no preview any more."""
    upload = RefillUpload.objects.get(pk=upload_id)
    if not upload.rows_valid:
        raise InvalidInput("No row of this file can be carried out.")
    together = upload.credits_total + _lately_without_approval(upload)
    needs_approval = together > settings.REFILL_APPROVAL_ABOVE_CREDITS
    changed = RefillUpload.objects.filter(pk=upload_id, state=State.PREVIEW).update(
        state=State.WAITING if needs_approval else State.RUNNING,
        needs_approval=needs_approval,
        confirmed_at=timezone.now(),
    )
    return _moved(upload, changed, "confirmed", actor, reason)


def _lately_without_approval(upload: RefillUpload) -> int:
    """Credits of the uploader's other files: who divides a file needs approval as for the whole.

    The uploader's row is locked, so that two of the files that are confirmed at the same time count each other.
    """
    User.objects.select_for_update(no_key=True).get(pk=upload.uploaded_by_id)
    others = RefillUpload.objects.filter(
        uploaded_by=upload.uploaded_by_id,
        needs_approval=False,
        state__in=[State.RUNNING, State.DONE],
        confirmed_at__gt=timezone.now() - COUNTED_TOGETHER,
    )
    return others.exclude(pk=upload.pk).aggregate(credits=Sum("credits_total"))["credits"] or 0


@transaction.atomic
def approve_upload(*, upload_id: UUID, user: User, actor: str, reason: str = "") -> RefillUpload:
    """Let a waiting upload run. Raises InvalidInput if it does not wait, and for the person who uploaded it."""
    upload = RefillUpload.objects.get(pk=upload_id)
    if upload.uploaded_by_id == user.pk:
        raise InvalidInput("Whoever uploaded a file cannot approve it.")
    changed = RefillUpload.objects.filter(pk=upload_id, state=State.WAITING).update(
        state=State.RUNNING, approved_by=user
    )
    return _moved(upload, changed, "approved", actor, reason)


@transaction.atomic
def cancel_upload(*, upload_id: UUID, actor: str, reason: str = "") -> RefillUpload:
    """Give up a preview, or refuse approval. Raises InvalidInput if it has begun to run, or has ended."""
    upload = RefillUpload.objects.get(pk=upload_id)
    changed = RefillUpload.objects.filter(pk=upload_id, state__in=[State.PREVIEW, State.WAITING]).update(
        state=State.CANCELLED, ended_at=timezone.now()
    )
    return _moved(upload, changed, "cancelled", actor, reason)


def run_uploads() -> None:
    """Carry out what is confirmed, for RUN_FOR_S at most; what is left then is asked for again.

    Safe to run beside itself and to kill at any point: an upload is run by whoever has its row locked, and a row's
    credits come in the transaction that says so.
    """
    ends = time.monotonic() + RUN_FOR_S
    running = RefillUpload.objects.filter(state=State.RUNNING).order_by("confirmed_at")
    for upload_id in list(running.values_list("pk", flat=True)):
        try:
            while _run_some(upload_id):
                if time.monotonic() > ends:
                    nudge()
                    return
        except Exception:
            # It is resumed by the next task; those behind it need not wait for that.
            logger.exception("refill upload %s cannot go on", upload_id)


@transaction.atomic
def _run_some(upload_id: UUID) -> bool:
    """Carry out the next rows; False where there are none any more, or somebody else is at it."""
    uploads = RefillUpload.objects.select_for_update(of=("self",), no_key=True, skip_locked=True)
    upload = uploads.select_related("uploaded_by").filter(pk=upload_id, state=State.RUNNING).first()
    if upload is None:
        return False
    actor = f"console:{upload.uploaded_by.get_username()}"
    rows = list(upload.rows.filter(outcome=Outcome.PENDING).order_by("position")[:ROWS_PER_TRANSACTION])
    if not rows:
        RefillUpload.objects.filter(pk=upload_id).update(state=State.DONE, ended_at=timezone.now())
        upload.state = State.DONE
        _record(upload, "done", actor)
        return False
    wishes = [RefillRow(row.line, row.team_id, row.amount, None, row.reason, row.number) for row in rows]
    results = refill(rows=wishes, order=RefillOrder(upload.batch, actor[:64], upload.kind))
    for row, result in zip(rows, results, strict=True):
        row.outcome, row.detail = result.outcome, _storable(result.detail, 255)
    RefillUploadRow.objects.bulk_update(rows, ["outcome", "detail"])
    return True


def nudge() -> None:
    """Have confirmed uploads carried out once the running transaction has committed, instead of within seconds."""
    transaction.on_commit(partial(_send, TASK))


def _send(task: str) -> None:
    try:
        current_app.send_task(task, ignore_result=True, retry=False)
    except OperationalError as error:
        logger.warning("the broker is away, so beat has to do: %s", error)


def _moved(upload: RefillUpload, changed: int, action: str, actor: str, reason: str) -> RefillUpload:
    """The upload in its new state. Raises InvalidInput where somebody else was first."""
    upload.refresh_from_db()
    if not changed:
        raise InvalidInput(f"Nothing was changed: this upload is {upload.get_state_display().lower()} already.")
    _record(upload, action, actor, reason)
    if upload.state == State.RUNNING:
        nudge()
    return upload


def _record(upload: RefillUpload, action: str, actor: str, reason: str = "") -> None:
    after = {
        "state": upload.state,
        "file": upload.file_name,
        "rows": upload.rows_valid,
        "credits": upload.credits_total,
    }
    record(actor=actor, action=f"refill_upload.{action}", subject=str(upload.id), after=after, reason=reason)


def _read(content: bytes) -> Sequence[RefillRow]:
    """The rows of a file. Raises InvalidInput, which says what is wrong with it as a whole."""
    if len(content) > MAX_BYTES:
        raise InvalidInput(f"The file is larger than {MAX_BYTES // 1024 // 1024} MiB: divide it.", field="file")
    rows: list[RefillRow] = []
    try:
        for row in read_rows(io.StringIO(content.decode("utf-8-sig"), newline="")):
            rows.append(row)
            if len(rows) > MAX_ROWS:
                raise InvalidInput(f"The file has more than {MAX_ROWS} rows: divide it.", field="file")
    except UnicodeDecodeError:
        raise InvalidInput("The file is not UTF-8: save it as “CSV UTF-8”.", field="file") from None
    except (ValueError, csv.Error) as error:
        raise InvalidInput(f"The file cannot be read: {error}.", field="file") from error
    if not rows:
        raise InvalidInput("The file has no rows below its first line.", field="file")
    return numbered(rows)


def _row(upload: RefillUpload, position: int, result: RefillResult) -> RefillUploadRow:
    is_valid = result.outcome == "applied"
    return RefillUploadRow(
        upload=upload,
        position=position,
        line=result.row.line,
        team_id=_storable(result.row.team_id, 160),
        number=result.row.number,
        amount=result.row.amount,
        reason=_storable(result.row.reason, 1024),
        outcome=Outcome.PENDING if is_valid else Outcome.INVALID,
        detail="" if is_valid else _storable(result.detail, 255),
    )


def _storable(text: str, length: int) -> str:
    """Such as PostgreSQL takes, which knows no NUL."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}")[:length]
