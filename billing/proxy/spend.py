"""What was spent at LiteLLM Proxy, as it was read back: beside the jobs' costs, never mixed with them."""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from django.conf import settings
from django.db.models import Q, Sum

from billing.models import ProxySpend


@dataclass
class DirectSpend:
    """In USD. `direct` was spent with the team's own keys, and is in no job; `models` is by model, of that alone.

    `platform` was spent by our workers for the team's jobs, as the proxy counted it: the jobs' costs have it, too.
    """

    direct_usd: Decimal = Decimal(0)
    direct_requests: int = 0
    platform_usd: Decimal = Decimal(0)
    models: dict[str, Decimal] = field(default_factory=dict)


def spend_of_team(team_pk: int, *, first: date, last: date) -> DirectSpend | None:
    """From the first day to the last (UTC), both included; None where no proxy is configured."""
    return _sum(Q(team_id=team_pk), first, last)


def spend_of_organization(organization_pk: int, *, first: date, last: date) -> DirectSpend | None:
    """The same of all its teams."""
    return _sum(Q(team__organization_id=organization_pk), first, last)


def _sum(whose: Q, first: date, last: date) -> DirectSpend | None:
    if not settings.LITELLM_PROXY_URL:
        return None
    rows = ProxySpend.objects.filter(whose, day__gte=first, day__lte=last).order_by()
    spent = DirectSpend()
    for row in rows.values("is_platform", "model_name").annotate(usd=Sum("spend_usd"), count=Sum("requests")):
        if row["is_platform"]:
            spent.platform_usd += row["usd"]
        else:
            spent.direct_usd += row["usd"]
            spent.direct_requests += row["count"]
            spent.models[row["model_name"]] = row["usd"]
    return spent
