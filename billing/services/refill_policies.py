"""Refill policies: setting them, and carrying them out once per period."""

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Max, Q, QuerySet, Sum
from django.utils import timezone

from billing import ledger
from billing.errors import RefillPolicyNotFound
from billing.models import CreditAccount, CreditGrant, Refill, RefillPolicy
from billing.queries.refills import period_of, periods_due
from config.foundation.constraints import violated
from config.foundation.errors import InvalidInput
from config.foundation.failpoints import failpoint
from tenancy.models import Team
from tenancy.services import audit

logger = logging.getLogger(__name__)

#: What a wrong combination of fields is called to the client.
_REFUSALS = {
    "refill_policy_has_a_threshold_if_it_needs_one": ("below", "is for 'every' = 'below', which needs it"),
    "refill_policy_adds_or_fills_up": ("amount", "give either amount or fill_to"),
    "refill_policy_fills_beyond_its_threshold": ("fill_to", "must not be less than below"),
}


@dataclass(frozen=True)
class PolicyTerms:
    """A policy as the operator gives it: whole credits, see RefillPolicy."""

    every: str
    amount: int | None = None
    fill_to: int | None = None
    below: int | None = None
    max_per_month: int | None = None
    is_enabled: bool = True
    credit_limit: int | None = None


@transaction.atomic
def set_refill_policy(*, team_pk: int, terms: PolicyTerms, actor: str = audit.SYSTEM) -> RefillPolicy:
    """Make or replace the team's policy, and its account's credit limit. The current period's refill comes at once.

    Raises InvalidInput for terms that contradict each other.
    """
    before = _shown(team_pk)
    CreditAccount.objects.filter(pk=team_pk).update(credit_limit=terms.credit_limit)
    old = RefillPolicy.objects.filter(pk=team_pk).first()
    goes_on = old is not None and old.is_enabled and old.every == terms.every
    fields = {name: value for name, value in terms.__dict__.items() if name != "credit_limit"}
    fields["active_from"] = old.active_from if goes_on and old else timezone.now()
    try:
        with transaction.atomic():
            policy = RefillPolicy.objects.update_or_create(pk=team_pk, defaults=fields)[0]
    except IntegrityError as error:
        field, detail = _REFUSALS.get(violated(error) or "", (None, ""))
        if field is None:
            raise
        raise InvalidInput(detail, field=field) from error
    team = Team.objects.get(pk=team_pk)
    audit.record(
        actor=actor,
        action="refill_policy.set",
        subject=team.team_id,
        organization_pk=team.organization_id,
        team_pk=team_pk,
        before=before,
        after=terms.__dict__,
    )
    return policy


@transaction.atomic
def delete_refill_policy(*, team_pk: int, team_id: str, actor: str = audit.SYSTEM) -> None:
    """Refill the team no more by itself. Raises RefillPolicyNotFound."""
    before = _shown(team_pk)
    if not RefillPolicy.objects.filter(pk=team_pk).delete()[0]:
        raise RefillPolicyNotFound(team_id)
    audit.record(actor=actor, action="refill_policy.deleted", subject=team_id, team_pk=team_pk, before=before)


def _shown(team_pk: int) -> dict[str, Any] | None:
    """The policy as it is, for the audit log."""
    policy = RefillPolicy.objects.select_related("account").filter(pk=team_pk).first()
    if policy is None:
        return None
    names = ("every", "amount", "fill_to", "below", "max_per_month", "is_enabled")
    return {**audit.fields_of(policy, names), "credit_limit": policy.account.credit_limit}


def run_refill_policies(*, now: datetime | None = None) -> int:
    """Carry out all policies that are due; returns how many refills were made. One transaction per account.

    Idempotent and safe to run beside itself, to kill at any point, and to run by a clock that was set back: a period's
    refill is a row that the database takes once, and only after those of earlier periods. Periods that were missed are
    made up for.
    """
    now = now or timezone.now()
    made = 0
    for account_pk in list(_due(now).values_list("pk", flat=True)):
        try:
            made += _refill(account_pk, now)
        except IntegrityError:
            # Somebody else's refill or a lower limit came in between; the next run looks again.
            logger.warning("a refill of account %s was refused", account_pk, exc_info=True)
    return made


def _due(now: datetime) -> QuerySet[RefillPolicy]:
    """Policies that may be due; _refill decides under the account's lock."""
    available = F("account__allocated") - F("account__used") - F("account__held")
    policies = RefillPolicy.objects.filter(is_enabled=True).annotate(last=Max("account__refills__period_start"))
    due = Q(every=RefillPolicy.Every.BELOW, below__gt=available)
    for every in (RefillPolicy.Every.DAY, RefillPolicy.Every.WEEK, RefillPolicy.Every.MONTH):
        due |= Q(every=every) & (Q(last=None) | Q(last__lt=period_of(every, now)))
    return policies.filter(due).order_by("pk")


@transaction.atomic
def _refill(account_pk: int, now: datetime) -> int:
    account = CreditAccount.objects.select_for_update(no_key=True).get(pk=account_pk)
    policy = RefillPolicy.objects.filter(pk=account_pk, is_enabled=True).first()
    if policy is None:
        return 0
    if policy.every == RefillPolicy.Every.BELOW:
        if account.available >= (policy.below or 0) or not _amount(policy, account, now):
            return 0
        _make(policy, account, batch=f"below:{account.last_sequence}", period_start=None, now=now)
        return 1
    last = Refill.objects.filter(account=account).aggregate(last=Max("period_start"))["last"]
    periods = periods_due(policy.every, first=policy.active_from, last=last, now=now)
    for period in periods:
        _make(policy, account, batch=f"policy:{period}", period_start=period, now=now)
        account.refresh_from_db()
        failpoint("refills.made")
    return len(periods)


def _amount(policy: RefillPolicy, account: CreditAccount, now: datetime) -> int:
    """What the policy adds now: no more than the credit limit and the month's cap leave room for."""
    wanted = [policy.amount if policy.amount is not None else (policy.fill_to or 0) - account.available]
    if account.credit_limit is not None:
        wanted.append(account.credit_limit - account.remaining)
    if policy.max_per_month is not None:
        month = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        following = (month + timedelta(days=32)).replace(day=1)
        made = Refill.objects.filter(
            account=account, is_automatic=True, created_at__gte=month, created_at__lt=following
        )
        wanted.append(policy.max_per_month - (made.aggregate(sum=Sum("amount"))["sum"] or 0))
    return max(0, min(wanted))


def _make(
    policy: RefillPolicy, account: CreditAccount, *, batch: str, period_start: date | None, now: datetime
) -> None:
    amount = _amount(policy, account, now)
    entry = None
    if amount:
        entry = ledger.allocate(
            team_pk=account.pk,
            amount=amount,
            reason="Automatic refill",
            metadata={"batch_id": batch},
            actor="refill-policy",
            terms=ledger.GrantTerms(kind=CreditGrant.Kind.REFILL),
        )
    # An event such as credits.refilled belongs here, in this transaction.
    Refill.objects.create(
        account=account,
        batch=batch,
        amount=amount,
        entry=entry,
        is_automatic=True,
        period_start=period_start,
        created_at=now,
    )
