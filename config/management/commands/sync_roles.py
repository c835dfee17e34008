"""manage.py sync_roles: give the console's roles their permissions."""

from typing import Any

from django.core.management.base import BaseCommand

from config.console.roles import sync_roles


class Command(BaseCommand):
    """Safe to repeat; run it after every migrate."""

    help = "Make the groups viewer, support, billing and admin, with exactly their permissions."

    def handle(self, *args: Any, **options: Any) -> None:
        """Sync, and say how many permissions each has."""
        for role, count in sync_roles().items():
            self.stdout.write(f"{role}: {count} permissions")
