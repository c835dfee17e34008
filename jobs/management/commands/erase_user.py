"""Erase a team's user: `manage.py erase_user TEAM_ID USER_ID`. Safe to repeat, with the pseudonym that it prints."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config.foundation.errors import DomainError
from jobs.services.erasure import erase_user_of_team


class Command(BaseCommand):
    """Name, metadata and stored texts go; the books stay as they are."""

    help = "Erase a team's user."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Who, and why."""
        parser.add_argument("team_id")
        parser.add_argument("user_id")
        parser.add_argument("--reason", default="", help="for the audit log, which keeps it: no names")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what he is called now and whether anything is left."""
        try:
            user = erase_user_of_team(
                team_id=options["team_id"], user_id=options["user_id"], reason=options["reason"], actor="erase_user"
            )
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{user.user_id} {user.status}")
