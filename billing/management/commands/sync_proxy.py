"""manage.py sync_proxy: compare LiteLLM Proxy with what it should be, and bring it there."""

import math
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.proxy.plan import Change
from billing.services.proxy_reconcile import Comparison, compare, reconcile
from modelgroups.gateway.proxy_errors import ProxyError

#: Exit codes besides 0, which means: in step.
DIFFERS = 1
UNAVAILABLE = 2
#: A team that is a worker's is in step within seconds.
TRIES = 5
PAUSE_S = 1.0


class Command(BaseCommand):
    """Safe to repeat, and to run beside the workers, which do the same on a schedule."""

    help = "Compare LiteLLM Proxy with what it should be (exit code 1: it differs, 2: it could not be asked)."

    def add_arguments(self, parser: CommandParser) -> None:
        """What to do about it."""
        action = parser.add_mutually_exclusive_group(required=True)
        action.add_argument("--dry-run", action="store_true", help="only show the differences")
        action.add_argument("--apply", action="store_true", help="repair them, and put them on record as drift")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compare, or repair and compare again."""
        if not settings.LITELLM_PROXY_URL:
            raise CommandError("no proxy is configured: set LITELLM_PROXY_URL and LITELLM_MASTER_KEY")
        try:
            comparison = self._repair() if options["apply"] else compare()
        except ProxyError as error:
            raise CommandError(f"the proxy could not be asked: {error}", returncode=UNAVAILABLE) from error
        for line in _lines(comparison):
            self.stdout.write(line)
        if not comparison.is_empty:
            raise CommandError("the proxy differs from what it should be", returncode=DIFFERS)
        self.stdout.write("in step")

    def _repair(self) -> Comparison:
        """What differs afterwards. A team that a worker is bringing in step just now is left to it, and waited for."""
        repaired = 0
        for tries_left in reversed(range(TRIES)):
            repair = reconcile(within_s=math.inf)
            repaired += repair.repaired
            comparison = compare()
            if comparison.is_empty or repair.errors or not tries_left:
                break
            time.sleep(PAUSE_S)
        for error in repair.errors:
            self.stderr.write(str(error))
        self.stdout.write(f"{repaired} difference(s) repaired")
        return comparison


def _lines(comparison: Comparison) -> list[str]:
    """A line per difference: the team, what is done about it, what is wrong."""
    lines = [
        f"{team.team_id} {_line(change, number)}{' (due)' if team.is_due else ''}"
        for team in comparison.teams
        for change in team.changes
        for number in range(len(change.differences))
    ]
    lines += [f"{team.team_id} report team_orphan" for team in comparison.orphan_teams]
    return lines + [f"{key.team_id or '-'} delete_key key_orphan {key.key_hash}" for key in comparison.orphan_keys]


def _line(change: Change, number: int) -> str:
    difference = change.differences[number]
    subject = f" {difference.subject}" if difference.subject else ""
    return f"{change.action} {difference.kind}{subject}: {difference.was!r} -> {difference.wanted!r}"
