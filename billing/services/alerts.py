"""Rules about credits (docs/operations.md, "Alerts")."""

from collections.abc import Iterator

from django.conf import settings
from django.db.models import F, Q

from billing.models import CreditAccount
from tenancy.models import Alert
from tenancy.services.alerts import Finding, settle


def evaluate() -> None:
    """Open and close what the accounts give cause to. A transaction for each rule."""
    settle(rule=Alert.Rule.CREDITS_LOW, find=_low_credits)
    settle(rule=Alert.Rule.BUDGET_USED, find=_used_budgets)


def _low_credits() -> Iterator[Finding]:
    """Below one of the team's thresholds, or of the default ones. Teams that never had credits do not count."""
    highest = max(settings.CREDITS_LOW_THRESHOLDS, default=0)
    remaining = F("allocated") - F("used")
    accounts = CreditAccount.objects.select_related("team").filter(allocated__gt=0).annotate(left=remaining)
    for account in accounts.filter(Q(left__lt=highest) | ~Q(team__credits_low_thresholds=None)).iterator():
        for threshold in account.team.credits_low_thresholds or settings.CREDITS_LOW_THRESHOLDS:
            if account.remaining < threshold:
                yield Finding(
                    subject=account.team.team_id,
                    threshold=str(threshold),
                    team_pk=account.team.pk,
                    data={"credits_remaining": account.remaining, "credits_allocated": account.allocated},
                )


def _used_budgets() -> Iterator[Finding]:
    """So many percent of what was ever allocated are used."""
    lowest = min(settings.BUDGET_ALERT_PERCENTS, default=101)
    accounts = CreditAccount.objects.select_related("team").filter(allocated__gt=0)
    for account in accounts.filter(used__gte=F("allocated") * lowest / 100).iterator():
        for percent in settings.BUDGET_ALERT_PERCENTS:
            if account.used * 100 >= account.allocated * percent:
                yield Finding(
                    subject=account.team.team_id,
                    threshold=str(percent),
                    team_pk=account.team.pk,
                    data={"credits_used": account.used, "credits_allocated": account.allocated},
                )
