"""manage.py revoke_key: stop a team's virtual key at once."""

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.foundation.errors import DomainError
from tenancy.services.keys import revoke_virtual_key


class Command(BaseCommand):
    """Safe to repeat."""

    help = "Stop a team's virtual key at once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which key."""
        parser.add_argument("team_id")
        parser.add_argument("key_id", type=UUID, help="as GET /api/teams/{team_id}/keys lists it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Revoke. Exit code 1 where there is no such key."""
        try:
            key = revoke_virtual_key(team_id=options["team_id"], key_id=options["key_id"], actor="revoke_key")
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"revoked {key}")
