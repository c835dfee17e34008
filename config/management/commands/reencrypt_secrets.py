"""manage.py reencrypt_secrets: the second step of rotating FIELD_ENCRYPTION_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config.reencryption import reencrypt


class Command(BaseCommand):
    """Safe to repeat. Afterwards the older keys are of no use any more, and can be dropped."""

    help = "Write everything that is encrypted at rest with the first of FIELD_ENCRYPTION_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        """Re-encrypt. Exit code 1 where a value could not be read with any of the keys."""
        counts = reencrypt()
        for name, count in counts.items():
            self.stdout.write(f"{name}: {count.rewritten} rewritten, {count.unreadable} unreadable")
        if any(count.unreadable for count in counts.values()):
            raise CommandError("some values were written with a key that is not configured any more")
