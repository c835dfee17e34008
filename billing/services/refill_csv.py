"""Reading a CSV file of refills: rows that can be carried out, and for the others why not."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from billing.services.refills import RefillRow
from config.foundation.limits import CLIENT_ID, CLIENT_ID_RULE, MAX_CREDITS

MAX_REASON = 1024
COLUMNS = ("team", "amount", "reason")


def read_csv(path: Path) -> Iterator[RefillRow]:
    """The rows of a UTF-8 file with the header `team,amount,reason`. Raises ValueError, OSError, csv.Error."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from read_rows(file)


def read_rows(lines: Iterable[str]) -> Iterator[RefillRow]:
    """The same of a file's lines, with their ends. Raises ValueError, csv.Error."""
    reader = csv.DictReader(lines)
    if tuple(name.strip() for name in reader.fieldnames or ()) not in (COLUMNS, COLUMNS[:2]):
        raise ValueError("the first line must be: team,amount,reason")
    for fields in reader:
        yield _row(reader.line_num, fields)


def _row(line: int, fields: dict[str | None, str | list[str] | None]) -> RefillRow:
    values = {(name or "").strip(): value for name, value in fields.items()}
    team_id, amount, reason = (str(values.get(name) or "").strip() for name in COLUMNS)
    error = ""
    if None in fields:
        error = "has more than three fields"
    elif not CLIENT_ID.fullmatch(team_id):
        error = f"team {CLIENT_ID_RULE}"
    elif not _is_amount(amount):
        error = f"amount must be a whole number from 1 to {MAX_CREDITS}"
    elif len(reason) > MAX_REASON or "\0" in reason:
        error = f"reason must be at most {MAX_REASON} characters, without NUL"
    if error:
        return RefillRow(line=line, team_id=team_id, error=error)
    return RefillRow(line=line, team_id=team_id, amount=int(amount.lstrip("0")), reason=reason)


def _is_amount(text: str) -> bool:
    """Whether it is a number of credits. Its length first: Python refuses to read numbers of thousands of digits."""
    digits = text.lstrip("0")
    if not text.isascii() or not digits.isdecimal() or len(digits) > len(str(MAX_CREDITS)):
        return False
    return int(digits) <= MAX_CREDITS
