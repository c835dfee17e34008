"""manage.py create_operator_key: the first operator key, and any further one."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError

from tenancy.models import OperatorKey
from tenancy.services.keys import create_operator_key


class Command(BaseCommand):
    """Prints the key once; it cannot be shown again."""

    help = "Create an operator key and print it, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Name and scopes."""
        parser.add_argument("name", help="what or whom the key is for")
        parser.add_argument(
            "--scope",
            action="append",
            choices=OperatorKey.Scope.values,
            help="what it may do; repeat for several (default: all)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Create it. Exit code 1 where the name is taken."""
        try:
            _, plaintext = create_operator_key(
                name=options["name"], scopes=options["scope"] or ["all"], actor="create_operator_key"
            )
        except IntegrityError as error:
            raise CommandError(f"an operator key named {options['name']!r} exists already") from error
        self.stdout.write(plaintext)
