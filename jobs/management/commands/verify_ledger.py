"""manage.py verify_ledger: prove the books."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from jobs.services.books import verify_books


class Command(BaseCommand):
    """Changes nothing but for its own record (Ledger checks in the admin)."""

    help = "Check every rule of the ledger, its grants, holds and jobs. Exits with 1 where one is broken."

    def handle(self, *args: Any, **options: Any) -> None:
        """Check, and say what was found."""
        check = verify_books(actor="command")
        took_s = (check.ended_at - check.started_at).total_seconds()
        for breach in check.breaches:
            examples = ", ".join(breach["examples"])
            self.stderr.write(f"BROKEN {breach['count']} times: {breach['rule']} (such as {examples})")
        if not check.is_sound:
            raise CommandError(f"{len(check.breaches)} rules are broken ({check.entries} entries, {took_s:.1f} s)")
        self.stdout.write(f"The books are sound: {check.entries} entries checked in {took_s:.1f} s.")
