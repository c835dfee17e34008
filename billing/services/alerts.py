"""Rules about credits (docs/operations.md, "Alerts")."""

from collections.abc import Iterator
from decimal import Decimal

from django.conf import settings
from django.db.models import F, Q

from billing.models import CreditAccount
from billing.queries.balances import budget_usd
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
    """So many percent of what was ever allocated are used, or of what that is worth spent on calls."""
    lowest = min(settings.BUDGET_ALERT_PERCENTS, default=101)
    price_usd = Decimal(settings.CREDIT_PRICE_USD)
    is_near = Q(used__gte=F("allocated") * lowest / 100) | Q(
        team__budget__spent_usd__gte=F("allocated") * price_usd * lowest / 100
    )
    accounts = CreditAccount.objects.select_related("team__budget").filter(allocated__gt=0)
    for account in accounts.filter(is_near).iterator():
        limit_usd, spent_usd = budget_usd(account), account.team.budget.spent_usd
        for percent in settings.BUDGET_ALERT_PERCENTS:
            if account.used * 100 >= account.allocated * percent or spent_usd * 100 >= limit_usd * percent:
                yield Finding(
                    subject=account.team.team_id,
                    threshold=str(percent),
                    team_pk=account.team.pk,
                    data={
                        "credits_used": account.used,
                        "credits_allocated": account.allocated,
                        "spent_usd": f"{spent_usd:f}",
                        "budget_usd": f"{limit_usd:f}",
                    },
                )
