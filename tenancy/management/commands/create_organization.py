"""manage.py create_organization: open an organization."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.foundation.errors import DomainError
from config.foundation.limits import check_client_id
from tenancy.services.organizations import create_organization


class Command(BaseCommand):
    """Run again it says that the organization exists, and changes nothing."""

    help = "Open an organization."

    def add_arguments(self, parser: CommandParser) -> None:
        """Id and name."""
        parser.add_argument("organization_id")
        parser.add_argument("--name", help="what people call it (default: the id)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Open it. Exit code 1 where the id is taken or malformed."""
        try:
            organization_id = check_client_id(options["organization_id"], field="organization_id")
            create_organization(
                organization_id=organization_id,
                name=(options["name"] or organization_id)[:255],
                metadata={},
                actor="create_organization",
            )
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"organization {organization_id!r} is open")
