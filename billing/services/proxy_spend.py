"""Reading back what was spent at LiteLLM Proxy, so that a team sees it beside its jobs' costs."""

import logging
from datetime import timedelta

from django.utils import timezone

from billing.models import ProxySpend, ProxyTeam
from billing.proxy.desired import platform_key_hash
from billing.services.proxy_sync import open_proxy
from modelgroups.gateway.proxy_errors import ProxyError
from tenancy.models import Team, VirtualKey

logger = logging.getLogger(__name__)

#: The proxy writes its sums late, and by its own clock: days are read again until they cannot change any more.
DAYS_READ_AGAIN = 2
#: After a longer outage of ours, no more than so many days are read at once.
MOST_DAYS = 31


def read_spend() -> int:
    """Read the days since the last reading; returns how many rows that were. Repeating it changes nothing.

    The proxy's own sums per day, key and model replace the rows of before. Whose a key is, our own tables say; only
    for a key that is not ours does the proxy.
    """
    today = timezone.now().date()
    last_read = ProxySpend.objects.order_by("-day").values_list("day", flat=True).first()
    since = min(last_read or today - timedelta(days=MOST_DAYS), today) - timedelta(days=DAYS_READ_AGAIN)
    try:
        with open_proxy() as admin:
            found = admin.spend(first=max(since, today - timedelta(days=MOST_DAYS)), last=today + timedelta(days=1))
    except ProxyError as error:
        logger.warning("the proxy's spend could not be read: %s", error)
        return 0
    owners, platform = _owners()
    teams = dict(Team.objects.values_list("team_id", "pk"))
    now = timezone.now()
    rows = [
        ProxySpend(
            team_id=team_pk,
            day=row.day,
            key_hash=row.key_hash,
            is_platform=row.key_hash in platform,
            model_name=row.model_name[:255],
            spend_usd=row.spend_usd,
            requests=row.requests,
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
            read_at=now,
        )
        for row in found
        if (team_pk := owners.get(row.key_hash) or teams.get(row.team_id)) is not None
    ]
    ProxySpend.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["team", "day", "key_hash", "model_name"],
        update_fields=["spend_usd", "requests", "prompt_tokens", "completion_tokens", "read_at"],
        batch_size=500,
    )
    return len(rows)


def _owners() -> tuple[dict[str, int], set[str]]:
    """Key's hash → team, and which of them are the platform's."""
    owners = {bytes(key_hash).hex(): team for key_hash, team in VirtualKey.objects.values_list("key_hash", "team_id")}
    rows = ProxyTeam.objects.exclude(platform_key_encrypted=None).only("platform_key_encrypted")
    platform = {platform_key_hash(bytes(row.platform_key_encrypted or b"")): row.pk for row in rows}
    return owners | platform, set(platform)
