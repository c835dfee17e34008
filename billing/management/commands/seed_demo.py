"""manage.py seed_demo: the demo organization of `make run`."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.services.demo import seed_demo


class Command(BaseCommand):
    """Safe to repeat: what is there stays, keys included."""

    help = "Make a demo organization, team and model groups; write their keys to a file."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where the keys go."""
        parser.add_argument("--credentials-file", type=Path, required=True, help="read and rewritten, mode 0600")

    def handle(self, *args: Any, **options: Any) -> None:
        """Seed. OPERATOR_KEY in the environment, when set, becomes the operator key."""
        if not settings.DEBUG:
            raise CommandError("this is for development: set DJANGO_DEBUG=1")
        call_command("sync_roles", stdout=self.stdout)
        file: Path = options["credentials_file"]
        known = json.loads(file.read_text()) if file.exists() else {}
        credentials = seed_demo(known=known, operator_key=os.environ.get("OPERATOR_KEY") or None)
        file.touch(mode=0o600)
        file.chmod(0o600)
        file.write_text(json.dumps(asdict(credentials), indent=2) + "\n")
        self.stdout.write(f"demo team {credentials.team_id!r} is ready")
