"""manage.py expire_credits: write off credits whose time is over."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from billing.services.expiry import expire_credits, expiring_credits


class Command(BaseCommand):
    """Safe to repeat, and to run beside beat, which does the same every minute."""

    help = "Write off what is left of expired grants. Credits that open jobs hold stay until these have ended."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whether to do it."""
        parser.add_argument("--dry-run", action="store_true", help="say how much it would be, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write off, and say how much that was."""
        if options["dry_run"]:
            found = expiring_credits()
            self.stdout.write(f"would write off up to {found.credits} credits of {found.accounts} accounts")
            return
        done = expire_credits()
        self.stdout.write(f"wrote off {done.credits} credits of {done.accounts} accounts")
