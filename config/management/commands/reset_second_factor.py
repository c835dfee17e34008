"""manage.py reset_second_factor: for who has lost the phone and the recovery codes."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.console.users import reset_second_factor


class Command(BaseCommand):
    """Safe to repeat."""

    help = "Take a user's second factor off; at the next log-in a new one is set, where it is required."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose."""
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        """Reset. Exit code 1 where there is no such user."""
        try:
            user = User.objects.get(username=options["username"])
        except User.DoesNotExist:
            raise CommandError(f"there is no user {options['username']!r}") from None
        reset_second_factor(user=user, actor="reset_second_factor")
        self.stdout.write(f"{user.get_username()} has no second factor")
