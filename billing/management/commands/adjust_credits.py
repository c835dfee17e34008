"""manage.py adjust_credits: correct a team's balance."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.services.credits import adjust_credits
from config.foundation.errors import DomainError
from config.foundation.limits import CLIENT_ID, CLIENT_ID_RULE, MAX_CREDITS


class Command(BaseCommand):
    """Run again with the same key it changes nothing."""

    help = "Correct a team's balance by so many credits, either way. Held credits cannot be taken."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose, by how much, why."""
        parser.add_argument("team_id")
        parser.add_argument("amount", type=int, help="such as 5, or -5 (after --)")
        parser.add_argument("--reason", required=True, help="for the ledger")
        parser.add_argument("--key", required=True, help="of this correction, such as a ticket: it is done once (48 h)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Correct it. Exit code 1 where it cannot be."""
        if not 0 < abs(options["amount"]) <= MAX_CREDITS:
            raise CommandError(f"the amount must be from 1 to {MAX_CREDITS}, or negative")
        if not 1 <= len(options["reason"]) <= 1024:
            raise CommandError("--reason must be of 1 to 1024 characters")
        if not CLIENT_ID.fullmatch(options["key"]):
            raise CommandError(f"--key {CLIENT_ID_RULE}")
        try:
            entry = adjust_credits(
                team_id=options["team_id"],
                amount=options["amount"],
                reason=options["reason"],
                key=options["key"],
                actor="adjust_credits",
            )
        except DomainError as error:
            raise CommandError(str(error)) from error
        if entry is None:
            self.stdout.write(f"{options['key']}: was done before")
        else:
            self.stdout.write(f"{options['key']}: {entry.amount:+d} credits, {entry.balance_after} remain")
