"""Refilling many teams at once. Every row is carried out once, however often its batch is sent."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db import transaction
from django.utils import timezone

from billing import ledger
from billing.errors import RefillsRefused
from billing.models import CreditAccount, CreditGrant, Refill
from tenancy.models import Team
from tenancy.services import audit

Outcome = Literal["applied", "already_applied", "nothing_to_add", "refused"]


@dataclass(frozen=True)
class RefillRow:
    """One wish: `amount` more whole credits, or as many as are missing from `fill_to` available ones.

    `number` counts the rows of one team in its batch, from 1; `line` is for the report. `error` is set where the row
    could not be read.
    """

    line: int
    team_id: str
    amount: int | None = None
    fill_to: int | None = None
    reason: str = ""
    number: int = 1
    error: str = ""


@dataclass(frozen=True)
class RefillResult:
    """What became of a row; `amount` credits were added by it, now or in an earlier run."""

    row: RefillRow
    outcome: Outcome
    amount: int = 0
    detail: str = ""


@dataclass(frozen=True)
class RefillOrder:
    """What the rows of a batch have in common."""

    batch: str
    actor: str
    kind: str = CreditGrant.Kind.REFILL
    expires_at: datetime | None = None


@transaction.atomic
def refill(
    *, rows: Sequence[RefillRow], order: RefillOrder, all_or_nothing: bool = False, dry_run: bool = False
) -> list[RefillResult]:
    """Carry out the rows, in their order, in one transaction; results come in the same order.

    A row that this batch has carried out before is left as it is. A refill beyond the account's credit limit is
    refused; filling up stops at the limit. Raises RefillsRefused, and changes nothing, if `all_or_nothing` and a row
    is refused.
    """
    accounts = _accounts(rows, lock=True)
    done = _done_before(order.batch, [account.pk for account in accounts.values()])
    planned = [_plan(row, accounts.get(row.team_id), done, order) for row in rows]
    if all_or_nothing and (refused := [result for result in planned if result.outcome == "refused"]):
        raise RefillsRefused(refused)
    _carry_out(planned, accounts, order)
    applied = [result for result in planned if result.outcome == "applied"]
    if applied:
        after = {"rows": len(applied), "credits": sum(result.amount for result in applied)}
        audit.record(actor=order.actor, action="credits.refilled", subject=order.batch, after=after)
    if dry_run:
        transaction.set_rollback(True)
    return planned


def plan_refill(*, rows: Sequence[RefillRow], order: RefillOrder) -> list[RefillResult]:
    """What `refill` would do with the rows just now, without locking or changing anything: for a preview."""
    accounts = _accounts(rows, lock=False)
    done = _done_before(order.batch, [account.pk for account in accounts.values()])
    return [_plan(row, accounts.get(row.team_id), done, order) for row in rows]


def numbered(rows: Sequence[RefillRow]) -> list[RefillRow]:
    """The rows with `number` set."""
    seen: Counter[str] = Counter()
    result = []
    for row in rows:
        seen[row.team_id] += 1
        result.append(RefillRow(**{**row.__dict__, "number": seen[row.team_id]}))
    return result


def _accounts(rows: Sequence[RefillRow], *, lock: bool) -> dict[str, CreditAccount]:
    """The accounts by team id; if locked, in the order of their keys, so that two runs cannot lock each other out."""
    wanted = {row.team_id for row in rows if not row.error}
    pks = dict(Team.objects.filter(team_id__in=wanted).values_list("team_id", "pk"))
    accounts = CreditAccount.objects.order_by("pk")
    found = (accounts.select_for_update(no_key=True) if lock else accounts).in_bulk(list(pks.values()))
    return {team_id: found[pk] for team_id, pk in pks.items()}


def _done_before(batch: str, accounts: Sequence[int]) -> dict[tuple[int, int], int]:
    done = Refill.objects.filter(batch=batch, account__in=accounts)
    return {(account, number): amount for account, number, amount in done.values_list("account", "row", "amount")}


def _plan(
    row: RefillRow, account: CreditAccount | None, done: dict[tuple[int, int], int], order: RefillOrder
) -> RefillResult:
    """What is to become of the row. The account's figures are kept up to date for the rows after it."""
    if row.error or account is None:
        return RefillResult(row, "refused", detail=row.error or f"Team '{row.team_id}' not found")
    earlier = done.get((account.pk, row.number))
    if earlier is not None:
        if row.amount not in (None, earlier):
            return RefillResult(row, "refused", earlier, f"this batch has added {earlier} credits for this row before")
        return RefillResult(row, "already_applied", earlier)
    most = account.credit_limit if order.kind == CreditGrant.Kind.REFILL else None
    room = None if most is None else most - account.remaining
    if row.amount is not None:
        if room is not None and row.amount > room:
            return RefillResult(row, "refused", detail=f"would exceed the credit limit of {most}")
        amount = row.amount
    else:
        missing = (row.fill_to or 0) - account.available
        amount = max(0, missing if room is None else min(missing, room))
    account.allocated += amount
    return RefillResult(row, "applied" if amount else "nothing_to_add", amount)


def _carry_out(planned: Sequence[RefillResult], accounts: dict[str, CreditAccount], order: RefillOrder) -> None:
    now = timezone.now()
    terms = ledger.GrantTerms(kind=order.kind, expires_at=order.expires_at)
    todo = [result for result in planned if result.outcome in ("applied", "nothing_to_add")]
    postings = [
        ledger.Posting(accounts[result.row.team_id].pk, result.amount, result.row.reason, {"batch_id": order.batch})
        for result in todo
        if result.amount
    ]
    entries = iter(ledger.allocate_many(postings=postings, terms=terms, actor=order.actor))
    # An event such as credits.refilled belongs here: one for each row, in this transaction.
    Refill.objects.bulk_create(
        Refill(
            account_id=accounts[result.row.team_id].pk,
            batch=order.batch,
            row=result.row.number,
            amount=result.amount,
            entry_id=next(entries) if result.amount else None,
            created_at=now,
        )
        for result in todo
    )
