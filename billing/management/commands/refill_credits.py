"""manage.py refill_credits: add credits to many teams, each row once, however often the command is run."""

import csv
import uuid
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from billing.errors import RefillsRefused
from billing.models import CreditGrant
from billing.queries.refills import teams_to_refill
from billing.services.refill_csv import read_csv
from billing.services.refills import RefillOrder, RefillResult, RefillRow, numbered, refill
from config.foundation.limits import CLIENT_ID, CLIENT_ID_RULE, MAX_CREDITS

#: Rows of one transaction: few enough that no team waits long for its account, many enough to be quick.
ROWS_PER_TRANSACTION = 500
#: How many refused rows are printed, unless more are asked for.
SHOWN = 20


def number_of_credits(text: str) -> int:
    """A number of credits on the command line."""
    if not text.isdecimal() or not 1 <= int(text) <= MAX_CREDITS:
        raise ArgumentTypeError(f"must be a whole number from 1 to {MAX_CREDITS}")
    return int(text)


def batch_id(text: str) -> str:
    """Under the rules of the ids that clients choose."""
    if not CLIENT_ID.fullmatch(text) or text.startswith(("policy:", "below:", "upload:")):
        raise ArgumentTypeError(f"{CLIENT_ID_RULE}, and not begin with policy:, below: or upload:")
    return text


class Command(BaseCommand):
    """Exit status: 0 all rows are carried out, now or before; 1 nothing was done; 2 some rows were refused."""

    help = "Add credits to teams: from a CSV file (team,amount,reason), or to all or some teams."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whom, how much, and how."""
        parser.add_argument("--csv", type=Path, help="a file with the header team,amount,reason")
        parser.add_argument("--all", action="store_true", help="all teams")
        parser.add_argument("--organization", help="the teams of this organization")
        parser.add_argument("--group", help="the teams with this model group")
        parser.add_argument("--below", type=number_of_credits, help="teams with fewer credits available than this")
        parser.add_argument("--amount", type=number_of_credits, help="add so many credits to each team")
        parser.add_argument("--to", type=number_of_credits, help="fill each team up to so many available credits")
        parser.add_argument("--reason", default="", help="for the ledger (not with --csv)")
        parser.add_argument("--kind", choices=CreditGrant.Kind.values[:3], default="refill", help="of the grants")
        parser.add_argument("--expires", type=datetime.fromisoformat, help="when the credits expire, with a time zone")
        parser.add_argument("--batch-id", type=batch_id, help="run again with the same: each row is done once")
        parser.add_argument("--all-or-nothing", action="store_true", help="change nothing if a row is refused")
        parser.add_argument("--dry-run", action="store_true", help="report what would happen, and change nothing")
        parser.add_argument("--report", type=Path, help="write what became of each row to this CSV file")

    def handle(self, *args: Any, **options: Any) -> None:
        """Refill, with a progress bar where somebody watches."""
        rows = self._rows(options)
        batch = options["batch_id"] or f"run-{uuid.uuid4()}"
        if options["expires"] is not None and options["expires"].tzinfo is None:
            raise CommandError("--expires needs a time zone, such as 2027-01-01T00:00+00:00")
        order = RefillOrder(batch, actor="refill_credits", kind=options["kind"], expires_at=options["expires"])
        self.stderr.write(f"batch {batch}: {len(rows)} rows; run again with --batch-id {batch} if interrupted")
        results: list[RefillResult] = []
        size = len(rows) or 1 if options["all_or_nothing"] else ROWS_PER_TRANSACTION
        try:
            with tqdm(total=len(rows), unit="row", disable=None, file=self.stderr) as progress:
                for first in range(0, len(rows), size):
                    some = rows[first : first + size]
                    results += refill(
                        rows=some, order=order, all_or_nothing=options["all_or_nothing"], dry_run=options["dry_run"]
                    )
                    progress.update(len(some))
        except RefillsRefused as error:
            self._show(error.refused)
            raise CommandError(f"{error}; nothing was changed", returncode=1) from error
        self._report(results, options)

    def _rows(self, options: dict[str, Any]) -> list[RefillRow]:
        selections = [name for name in ("all", "organization", "group", "below") if options[name]]
        if bool(options["csv"]) == bool(selections):
            raise CommandError("name either a --csv file, or teams by --all, --organization, --group or --below")
        if options["csv"]:
            if options["amount"] or options["to"] or options["reason"]:
                raise CommandError("--amount, --to and --reason are for selections: a CSV file has its own")
            return _unless_unreadable(lambda: numbered(list(read_csv(options["csv"]))))
        if bool(options["amount"]) == bool(options["to"]):
            raise CommandError("give either --amount or --to")
        teams = teams_to_refill(
            organization_id=options["organization"], group_name=options["group"], below=options["below"]
        )
        team_ids = teams.values_list("team_id", flat=True)
        return [
            RefillRow(line, team_id, options["amount"], options["to"], options["reason"])
            for line, team_id in enumerate(team_ids, start=1)
        ]

    def _report(self, results: Sequence[RefillResult], options: dict[str, Any]) -> None:
        counts = Counter(result.outcome for result in results)
        added = sum(result.amount for result in results if result.outcome == "applied")
        self.stdout.write(
            f"{'would add' if options['dry_run'] else 'added'} {added} credits by {counts['applied']} rows; "
            f"{counts['already_applied']} were done before, {counts['nothing_to_add']} had nothing to add, "
            f"{counts['refused']} were refused"
        )
        if options["report"]:
            with options["report"].open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["line", "team", "outcome", "amount", "detail"])
                writer.writerows([r.row.line, r.row.team_id, r.outcome, r.amount, r.detail] for r in results)
        if counts["refused"]:
            self._show([result for result in results if result.outcome == "refused"])
            raise CommandError(f"{counts['refused']} rows were refused", returncode=2)

    def _show(self, refused: Sequence[Any]) -> None:
        for result in refused[:SHOWN]:
            self.stderr.write(f"line {result.row.line}: {result.row.team_id}: {result.detail}")
        if len(refused) > SHOWN:
            self.stderr.write(f"… and {len(refused) - SHOWN} more: --report FILE has all")


def _unless_unreadable(read: Callable[[], list[RefillRow]]) -> list[RefillRow]:
    try:
        return read()
    except (OSError, ValueError, csv.Error) as error:
        raise CommandError(f"the file cannot be read: {error}") from error
