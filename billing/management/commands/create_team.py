"""manage.py create_team: open a team with its credits, groups and first key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.services.teams import open_team
from config.foundation.errors import DomainError
from config.foundation.limits import MAX_CREDITS, check_client_id


class Command(BaseCommand):
    """Prints the key once; run again it says that the team exists, and changes nothing."""

    help = "Open a team and print its first virtual key, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        """As POST /api/teams/create."""
        parser.add_argument("organization_id")
        parser.add_argument("team_id")
        parser.add_argument("--alias", default="", help="what people call it")
        parser.add_argument("--group", action="append", default=[], help="a model group; repeat for several, in order")
        parser.add_argument("--credits", type=int, default=0, help="the first allocation (default: none)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Open it. Exit code 1 where something is missing, taken or malformed."""
        if not 0 <= options["credits"] <= MAX_CREDITS:
            raise CommandError(f"--credits must be from 0 to {MAX_CREDITS}")
        try:
            opened = open_team(
                organization_id=options["organization_id"],
                team_id=check_client_id(options["team_id"], field="team_id"),
                team_alias=options["alias"][:255],
                model_groups=options["group"],
                credits_allocated=options["credits"],
                metadata={},
                actor="create_team",
            )
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(opened.key.plaintext)
