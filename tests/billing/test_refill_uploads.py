"""Bulk refills by an uploaded file: preview, confirmation, approval by another, the run, the report."""

import csv
import io
import sys
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, transaction
from django.utils import timezone

from billing.models import CreditAccount, LedgerEntry, Refill, RefillUpload, RefillUploadRow
from billing.services import refill_uploads
from billing.services.refill_uploads import MAX_BYTES, MAX_ROWS, create_upload, run_uploads
from billing.services.refills import refill
from config.foundation.constraints import violated
from tenancy.models import AuditEntry
from tests.support.admin import AdminClient, problems, sent
from tests.support.api import Tenant, make_tenant
from tests.support.refills import kill_after, many_teams

UPLOAD, PAGE = "billing_refillupload_upload", "billing_refillupload_change"
CONFIRM, APPROVE, CANCEL = (f"billing_refillupload_{step}" for step in ("confirm", "approve", "cancel"))
GOOD = b"team,amount,reason\nteam_a,5,Gift\n"
MIXED = (
    b"team,amount,reason\n"
    b"team_a,5,Gift\n"
    b"nobody,1,\n"
    b"team_a,0,\n"
    b"=cmd(),7,<script>alert(1)</script>\n"
    b"team_b,3,=1+1\n"
    b"team_a,1,second row of the team\n"
)


@pytest.fixture
def ann(tenant: Tenant) -> AdminClient:
    make_tenant("b")
    return AdminClient(name="ann")


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tasks are not sent but counted; tests run them."""
    tasks: list[str] = []
    monkeypatch.setattr(refill_uploads, "_send", tasks.append)
    return tasks


def upload(client: AdminClient, content: bytes, **fields: Any) -> RefillUpload:
    response = sent(client, UPLOAD, file=SimpleUploadedFile("march.csv", content), **fields)
    assert response.status_code == 302, problems(response)
    return RefillUpload.objects.get(pk=response.headers["Location"].split("/")[-3])


def step(client: AdminClient, page: str, it: RefillUpload) -> Any:
    return client.post(page, it.pk, token=uuid.uuid4())


def state(it: RefillUpload) -> str:
    return RefillUpload.objects.get(pk=it.pk).state


def balances() -> dict[str, int]:
    return {account.team.team_id: account.remaining for account in CreditAccount.objects.select_related("team")}


def test_a_preview_says_what_is_valid_and_what_is_not_and_moves_nothing(ann: AdminClient) -> None:
    it = upload(ann, MIXED)
    assert (it.state, it.rows_total, it.rows_valid, it.credits_total) == ("preview", 6, 3, 9)
    html = ann.html(PAGE, it.pk)
    for text in ("Team &#x27;nobody&#x27; not found", "amount must be a whole number", "team must be 1 to 128"):
        assert text in html
    assert "<script>alert" not in html
    assert list(it.rows.filter(outcome="invalid").values_list("line", flat=True)) == [3, 4, 5]
    assert balances() == {"team_a": 10, "team_b": 10}
    assert AuditEntry.objects.latest("id").action == "refill_upload.uploaded"


def test_what_is_confirmed_is_carried_out_once_and_reported(ann: AdminClient, no_broker: list[str]) -> None:
    it = upload(ann, MIXED)
    assert step(ann, CONFIRM, it).status_code == 302
    assert state(it) == "running"
    assert 'http-equiv="refresh"' in ann.html(PAGE, it.pk)
    assert "is running already" in problems(step(ann, CONFIRM, it))
    for _ in range(3):
        run_uploads()
    assert state(it) == "done"
    assert balances() == {"team_a": 16, "team_b": 13}
    entries = LedgerEntry.objects.filter(metadata__batch_id=it.batch)
    assert set(entries.values_list("actor", flat=True)) == {"console:ann"}
    assert "3" in ann.html(PAGE, it.pk)
    report = b"".join(ann.get("billing_refillupload_report", it.pk).streaming_content).decode()
    rows = list(csv.DictReader(io.StringIO(report)))
    assert [row["outcome"] for row in rows] == ["applied", "invalid", "invalid", "invalid", "applied", "applied"]
    assert (rows[3]["team"], rows[4]["reason"]) == ("'=cmd()", "'=1+1")
    words = AuditEntry.objects.filter(action__startswith="refill_upload.").order_by("id")
    assert [entry.action.split(".")[1] for entry in words] == ["uploaded", "confirmed", "done"]
    assert {entry.actor for entry in words} == {"console:ann"}


def test_what_became_impossible_meanwhile_is_refused_with_its_reason(ann: AdminClient) -> None:
    it = upload(ann, MIXED)
    step(ann, CONFIRM, it)
    CreditAccount.objects.filter(team__team_id="team_b").update(credit_limit=11)
    run_uploads()
    row = RefillUploadRow.objects.get(team_id="team_b")
    assert (row.outcome, row.detail) == ("refused", "would exceed the credit limit of 11")
    assert balances() == {"team_a": 16, "team_b": 10}
    assert "would exceed the credit limit of 11" in ann.html(PAGE, it.pk)


def test_what_was_invalid_when_it_was_confirmed_stays_out(ann: AdminClient) -> None:
    it = upload(ann, b"team,amount\nteam_a,1\nteam_c,1\n")
    make_tenant("c")
    step(ann, CONFIRM, it)
    run_uploads()
    assert balances() == {"team_a": 11, "team_b": 10, "team_c": 10}


def test_above_an_amount_a_second_person_approves(ann: AdminClient, settings: Any) -> None:
    settings.REFILL_APPROVAL_ABOVE_CREDITS = 4
    bob = AdminClient(["billing.view_refillupload", "billing.approve_refillupload"], name="bob")
    it = upload(ann, GOOD)
    step(ann, CONFIRM, it)
    assert state(it) == "waiting"
    run_uploads()
    assert "cannot approve" in problems(step(ann, APPROVE, it))
    assert bob.post(CONFIRM, it.pk, token=uuid.uuid4()).status_code == 403
    assert (state(it), balances()["team_a"]) == ("waiting", 10)
    assert step(bob, APPROVE, it).status_code == 302
    run_uploads()
    assert (state(it), balances()["team_a"]) == ("done", 15)
    approved = AuditEntry.objects.get(action="refill_upload.approved")
    assert approved.actor == "console:bob"
    assert "already" in problems(step(bob, APPROVE, it))


def test_just_that_amount_needs_no_approval(ann: AdminClient, settings: Any) -> None:
    settings.REFILL_APPROVAL_ABOVE_CREDITS = 5
    it = upload(ann, GOOD)
    step(ann, CONFIRM, it)
    assert state(it) == "running"


def test_what_one_person_uploads_within_a_day_counts_together(ann: AdminClient, settings: Any) -> None:
    settings.REFILL_APPROVAL_ABOVE_CREDITS = 9
    first = upload(ann, GOOD)
    step(ann, CONFIRM, first)
    run_uploads()
    second = upload(ann, b"team,amount\nteam_b,5\n")
    step(ann, CONFIRM, second)
    assert (state(first), state(second)) == ("done", "waiting")
    assert "of the last 24 hours" in ann.html(PAGE, second.pk)
    bob = AdminClient(name="bob")
    others = upload(bob, GOOD)
    step(bob, CONFIRM, others)
    assert step(bob, APPROVE, second).status_code == 302
    third = upload(ann, b"team,amount\nteam_b,4\n")
    step(ann, CONFIRM, third)  # What was approved does not count.
    assert (state(others), state(third)) == ("running", "running")
    RefillUpload.objects.filter(pk__in=[first.pk, third.pk]).update(confirmed_at=timezone.now() - timedelta(hours=25))
    fourth = upload(ann, b"team,amount\nteam_b,9\n")
    step(ann, CONFIRM, fourth)
    assert state(fourth) == "running"


def test_an_upload_that_fails_is_resumed_and_stops_nobody(ann: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = upload(ann, GOOD), upload(ann, b"team,amount\nteam_b,5\n")
    for it in (first, second):
        step(ann, CONFIRM, it)
    works = refill

    def fails_at_the_first(*, rows: Any, order: Any) -> Any:
        if order.batch == first.batch:
            raise RuntimeError
        return works(rows=rows, order=order)

    monkeypatch.setattr(refill_uploads, "refill", fails_at_the_first)
    run_uploads()
    assert (state(first), state(second)) == ("running", "done")
    monkeypatch.setattr(refill_uploads, "refill", works)
    run_uploads()
    assert (state(first), balances()) == ("done", {"team_a": 15, "team_b": 15})


def test_the_reason_of_a_step_is_in_the_audit_log(ann: AdminClient) -> None:
    sent(ann, CANCEL, upload(ann, GOOD).pk, reason="wrong month")
    assert AuditEntry.objects.get(action="refill_upload.cancelled").reason == "wrong month"


def test_not_even_the_database_lets_one_approve_ones_own(ann: AdminClient) -> None:
    it = upload(ann, GOOD)
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        RefillUpload.objects.filter(pk=it.pk).update(approved_by=it.uploaded_by_id)
    assert violated(caught.value) == "refill_upload_is_approved_by_another"


@pytest.mark.parametrize("settled", ["cancelled", "done"])
def test_what_has_ended_is_not_begun_again(ann: AdminClient, settled: str) -> None:
    it = upload(ann, GOOD)
    step(ann, CANCEL if settled == "cancelled" else CONFIRM, it)
    run_uploads()
    before = balances()
    for page in (CONFIRM, APPROVE, CANCEL):
        problems(step(ann, page, it))
    run_uploads()
    assert (state(it), balances()) == (settled, before)


def test_the_form_of_one_upload_makes_one(ann: AdminClient) -> None:
    token = uuid.uuid4()
    first, again = upload(ann, GOOD, token=token), upload(ann, GOOD, token=token)
    assert first == again
    other = sent(ann, UPLOAD, file=SimpleUploadedFile("x.csv", MIXED), token=token)
    assert "sent before with another file" in problems(other)
    other = sent(ann, UPLOAD, file=SimpleUploadedFile("march.csv", GOOD), token=token, kind="purchase")
    assert "sent before with another file or kind" in problems(other)
    assert (RefillUpload.objects.count(), first.rows.count()) == (1, 1)


def test_the_same_file_is_noticed(ann: AdminClient) -> None:
    first = upload(ann, GOOD)
    assert "was uploaded and confirmed before" not in ann.html(PAGE, upload(ann, GOOD).pk)
    step(ann, CONFIRM, first)
    assert "was uploaded and confirmed before" in ann.html(PAGE, upload(ann, GOOD).pk)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "empty"),
        (b"team,amount,reason\n", "no rows"),
        (b"\n\n", "first line"),
        (b"team;amount\nteam_a;1\n", "first line"),
        (b"a,b\n1,2\n", "first line"),
        ("team,amount,reason\nteam_a,1,Caf\xe9\n".encode("latin-1"), "not UTF-8"),
        ("team,amount\nteam_a,1\n".encode("utf-16"), "not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00", "not UTF-8"),
        (b'team,amount\n"' + b"x" * 200_000 + b'",1\n', "field larger than"),
        (b"team,amount\n" + b"team_a,1\n" * (MAX_ROWS + 1), "more than 10000 rows"),
        (b"x" * (MAX_BYTES + 1), "larger than 4 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_reason(
    ann: AdminClient, content: bytes, complaint: str
) -> None:
    assert complaint in problems(sent(ann, UPLOAD, file=SimpleUploadedFile("x.csv", content)))
    assert not RefillUpload.objects.exists()


@pytest.mark.parametrize(
    "row",
    [
        "team_a,1000000001", "team_a,00000000001000000000999", "team_a," + "9" * 5000, "team_a,-1", "team_a,1.5",
        "team_a,1e3", "team_a,٣", "team_a,", "team_a", ",1", "te\0am,1", "team_a,1,\0", "team_a,1,x,y", "=team_a,1",
        "team_a,1," + "x" * 1025, "x" * 300 + ",1",
    ],
)  # fmt: skip
def test_a_row_that_makes_no_sense_is_invalid(ann: AdminClient, row: str) -> None:
    it = upload(ann, f"team,amount,reason\nteam_b,1,\n{row}\n".encode())
    assert (it.rows_total, it.rows_valid) == (2, 1)
    html = ann.html(PAGE, it.pk)
    assert "\0" not in html
    b"".join(ann.get("billing_refillupload_report", it.pk).streaming_content)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(ann: AdminClient) -> None:
    assert upload(ann, "\ufeffteam, amount\r\nteam_a,0005\r\n".encode()).credits_total == 5


def test_each_step_needs_its_permission_and_a_post(ann: AdminClient, settings: Any) -> None:
    settings.REFILL_APPROVAL_ABOVE_CREDITS = 0
    it = upload(ann, GOOD)
    every = ["billing.view_refillupload", "billing.add_refillupload", "billing.change_refillupload"]
    viewer = AdminClient(every, name="viewer")
    assert viewer.get(UPLOAD).status_code == 403
    assert viewer.post(UPLOAD, file=SimpleUploadedFile("x", GOOD), token=uuid.uuid4()).status_code == 403
    for page in (CONFIRM, APPROVE, CANCEL):
        assert step(viewer, page, it).status_code == 403
        assert ann.get(page, it.pk, token=uuid.uuid4()).status_code == 200
        assert ann.get(page, uuid.uuid4()).status_code == 404
    html = viewer.html(PAGE, it.pk)
    for page in ("confirm", "approve", "cancel"):
        assert f"/{page}/" not in html
    assert (RefillUpload.objects.count(), state(it), balances()["team_a"]) == (1, "preview", 10)
    assert AdminClient([], name="nobody").get("billing_refillupload_report", it.pk).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_killed_is_followed_by_one_that_goes_on() -> None:
    many_teams(3000)
    content = b"team,amount\n" + b"".join(f"many-{n},{n % 9 + 1}\n".encode() for n in range(1, 3001))
    user = User.objects.create_user("ann")
    it = create_upload(upload_id=uuid.uuid4(), file_name="f", content=content, kind="refill", user=user, actor="x")
    assert refill_uploads.confirm_upload(upload_id=it.id, actor="x").state == "running"
    script = (
        "import django; django.setup(); from billing.services.refill_uploads import run_uploads\n"
        "while True: run_uploads()"
    )
    killed_after = kill_after(500, [sys.executable, "-c", script])
    assert 500 <= killed_after < 3000
    assert state(it) == "running"
    while state(it) == "running":
        run_uploads()
    assert Refill.objects.filter(batch=it.batch).count() == 3000
    assert set(it.rows.values_list("outcome", flat=True)) == {"applied"}
    accounts = CreditAccount.objects.filter(team__team_id__startswith="many-").select_related("team")
    assert {int(account.team.team_id[5:]): account.allocated for account in accounts} == {
        n: n % 9 + 1 for n in range(1, 3001)
    }


def test_ten_thousand_rows_are_taken(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    many_teams(MAX_ROWS)
    ann = AdminClient(name="ann")
    rows = b"".join(f"many-{n},2\n".encode() for n in range(1, MAX_ROWS + 1))
    it = upload(ann, b"team,amount\n" + rows)
    assert it.rows_valid == MAX_ROWS
    monkeypatch.setattr(refill_uploads, "RUN_FOR_S", 0.0)
    step(ann, CONFIRM, it)
    run_uploads()
    assert it.rows.filter(outcome="applied").count() == refill_uploads.ROWS_PER_TRANSACTION
    assert "Running" in ann.html(PAGE, it.pk)
    assert ann.queries(PAGE, it.pk) <= 15
