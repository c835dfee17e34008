"""manage.py provision: bring organizations, model groups and teams in line with a YAML file."""

from pathlib import Path
from typing import Any

import yaml
from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.services.provisioning import plan, provision
from config.foundation.errors import DomainError


class Command(BaseCommand):
    """Shows the plan; with --apply carries it out, as a whole. Run again, nothing is left to do."""

    help = "Make the organizations, model groups and teams of a YAML file, as far as they are missing."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which file, and whether to do it."""
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--apply", action="store_true", help="carry the plan out; prints new teams' keys, this once"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Plan or apply. Exit code 1 where the file is malformed, or the plan cannot be carried out."""
        try:
            document = yaml.safe_load(options["file"].read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise CommandError(f"the file cannot be read: {error}") from error
        try:
            if options["apply"]:
                done = provision(document, actor="provision")
                steps, keys = done.steps, done.keys
            else:
                steps, keys = plan(document), {}
        except DomainError as error:
            raise CommandError(f"{error}; nothing was changed") from error
        for step in steps:
            self.stdout.write(f"{'done' if options['apply'] else 'would'}: {step}")
        for team_id, key in keys.items():
            self.stdout.write(f"key of {team_id}: {key}")
        if not steps:
            self.stdout.write("Nothing to do: all of it is there.")
