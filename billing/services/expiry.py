"""Writing off credits whose time is over."""

import logging
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from billing import ledger
from billing.models import CreditGrant

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WrittenOff:
    """What one run did: accounts that lost something, and whole credits in all."""

    accounts: int = 0
    credits: int = 0


def expire_credits(*, now: datetime | None = None, actor: str = "expire_credits") -> WrittenOff:
    """Write off the remainders of all expired grants: one `expiry` entry per grant, one transaction per account.

    What open jobs hold is left until they have ended, so that every completion can be charged; a later run writes
    that off. Idempotent, and safe to run beside itself: a remainder is written off once.
    """
    now = now or timezone.now()
    result = WrittenOff()
    for team_pk in _accounts_with_expired_credits(now):
        with transaction.atomic():
            credits_lost = ledger.write_off_expired(team_pk=team_pk, now=now, actor=actor)
        if credits_lost:
            result = WrittenOff(result.accounts + 1, result.credits + credits_lost)
    if result.credits:
        logger.info("wrote off %s expired credits of %s accounts", result.credits, result.accounts)
    return result


def expiring_credits(*, now: datetime | None = None) -> WrittenOff:
    """What expire_credits would write off now, without doing it (an upper bound: holds may keep some of it)."""
    now = now or timezone.now()
    left = list(_expired_grants(now).values_list("account_id", "remaining"))
    return WrittenOff(len({account for account, _ in left}), sum(remaining for _, remaining in left))


def _accounts_with_expired_credits(now: datetime) -> list[int]:
    expired = _expired_grants(now).filter(account__allocated__gt=F("account__used") + F("account__held"))
    return sorted(set(expired.values_list("account_id", flat=True)))


def _expired_grants(now: datetime) -> QuerySet[CreditGrant]:
    return CreditGrant.objects.filter(is_spent=False, expires_at__lte=now)
