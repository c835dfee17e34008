"""manage.py rotate_key: replace a team's virtual key."""

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.foundation.errors import DomainError
from tenancy.services.keys import rotate_virtual_key


class Command(BaseCommand):
    """Prints the new key once; it cannot be shown again."""

    help = "Replace a team's virtual key and print the new one, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which key, and how long it goes on working."""
        parser.add_argument("team_id")
        parser.add_argument("key_id", type=UUID, help="as GET /api/teams/{team_id}/keys lists it")
        parser.add_argument("--grace", type=int, default=0, metavar="SECONDS", help="the old key works so much longer")

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate. Exit code 1 with the reason where it cannot be."""
        if options["grace"] < 0:
            raise CommandError("--grace must not be negative")
        try:
            new = rotate_virtual_key(
                team_id=options["team_id"], key_id=options["key_id"], grace_s=options["grace"], actor="rotate_key"
            )
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(new.plaintext)
