"""A statement as a CSV file and as a page to print."""

import csv
import io
from collections.abc import Iterator

from django.template.loader import render_to_string

from config.foundation.csv_cells import defused
from jobs.queries.statements import Statement

HEADER = ("team", "section", "day", "text", "count", "credits", "balance")


def as_csv(statement: Statement) -> str:
    """One line per line of the statement, with the balance after it; per team from its opening to its closing."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(HEADER)
    writer.writerows(_rows(statement))
    return file.getvalue()


def as_html(statement: Statement) -> str:
    """A page of its own, without scripts or other files, that prints well."""
    return render_to_string("jobs/statement.html", {"statement": statement})


def _rows(statement: Statement) -> Iterator[tuple[object, ...]]:
    for team in statement.teams:
        balance = team.opening
        yield (defused(team.team_id), "opening", f"{statement.period.start:%Y-%m-%d}", "", "", "", balance)
        for line in team.lines:
            balance += line.credits
            text = defused(line.text)
            yield (defused(team.team_id), line.section, line.day or "", text, line.count, line.credits, balance)
        yield (defused(team.team_id), "closing", f"{statement.period.end:%Y-%m-%d}", "", "", "", balance)
