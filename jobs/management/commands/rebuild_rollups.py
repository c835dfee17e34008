"""manage.py rebuild_rollups: sum up days anew, for the dashboard."""

from datetime import UTC, date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Min
from django.utils import timezone
from tqdm import tqdm

from billing.models import LedgerEntry
from jobs.models import Job
from jobs.services.rollups import rebuild_rollups


def _day(text: str) -> date:
    return date.fromisoformat(text)


class Command(BaseCommand):
    """Safe at any time, beside everything else, and again."""

    help = "Sum up days of jobs, calls, attempts and credits anew. Beat does so by itself for days that change."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which days."""
        parser.add_argument("--from", dest="first", type=_day, help="YYYY-MM-DD (default: the first day there is)")
        parser.add_argument("--to", dest="last", type=_day, help="YYYY-MM-DD, still part of it (default: today)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Day by day. Exit code 1 where the range is none."""
        today = timezone.now().astimezone(UTC).date()
        last = options["last"] or today
        first = options["first"] or self._first_day() or last
        if not first <= last <= today:
            raise CommandError("--from must not be after --to, nor --to after today")
        total = (last - first).days + 1
        with tqdm(total=total, unit="day", disable=None, file=self.stderr) as progress:
            for _ in rebuild_rollups(first=first, last=last):
                progress.update()
        self.stdout.write(f"summed up {total} days from {first} to {last}")

    def _first_day(self) -> date | None:
        firsts = [
            Job.objects.aggregate(first=Min("created_at"))["first"],
            LedgerEntry.objects.aggregate(first=Min("created_at"))["first"],
        ]
        return min((first.astimezone(UTC).date() for first in firsts if first), default=None)
