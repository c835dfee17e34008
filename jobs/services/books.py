"""Proving the books: every rule of the ledger and of its jobs, asked of the rows as they are."""

import logging
from dataclasses import asdict
from functools import partial

from django.utils import timezone

from billing.models import LedgerCheck
from billing.queries.books import LEDGER_RULES, Breach, breaches, count_entries
from jobs.queries.books import JOB_RULES
from tenancy.models import Alert
from tenancy.services.alerts import Finding, settle

logger = logging.getLogger(__name__)


def verify_books(*, actor: str) -> LedgerCheck:
    """Check all rules, put the result on record, and log an error and open an alert for each rule that is broken.

    It only reads the books, and in one statement per rule, so it can run beside everything else at any time. Here and
    not in billing, because some of the rules are about jobs (docs/adr/0030).
    """
    started_at = timezone.now()
    found = breaches([*LEDGER_RULES, *JOB_RULES])
    check = LedgerCheck.objects.create(
        started_at=started_at,
        ended_at=timezone.now(),
        entries=count_entries(),
        breaches=[asdict(breach) for breach in found],
        actor=actor,
    )
    for breach in found:
        logger.error("the books are broken: %s", breach)
    settle(rule=Alert.Rule.BOOKS_BROKEN, find=partial(map, _finding, found))
    return check


def _finding(breach: Breach) -> Finding:
    return Finding(subject=breach.rule[:255], data={"count": breach.count, "examples": list(breach.examples)})
