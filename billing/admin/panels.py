"""Tables on the pages of organizations and teams, as Unfold's table component takes them: the first rows of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.models import CreditAccount, LedgerEntry
from modelgroups.models import GroupAssignment
from tenancy.admin import in_a_row, link
from tenancy.models import AuditEntry, Organization, Team, TeamUser, VirtualKey

#: The rest is a link away.
MAX_ROWS = 10
MAX_TEAMS = 50
#: Of statements.
MONTHS = 12

Table = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """A tab with a table, and a link to all of its rows."""

    name: str
    title: str
    rows: Table
    all_rows: SafeString | str = ""


def as_tabs(panels: Iterable[Panel], *others: tuple[str, str]) -> list[tuple[str, str]]:
    """The name and title of each tab; "general" is Unfold's name for the form's own."""
    return [("general", "Overview"), *((panel.name, panel.title) for panel in panels), *others]


def table(headers: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """With every cell as text; texts are escaped by the template."""
    return {"headers": list(headers), "rows": [[_cell(value) for value in row] for row in rows]}


def _cell(value: object) -> object:
    if isinstance(value, SafeString):
        return value
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return "-" if value in (None, "") else str(value)


def keys_of(team: Team, *, may_change: bool) -> Table:
    """The newest keys, by what can be done to them."""
    keys = VirtualKey.objects.filter(team=team).defer("key_hash", "secret_encrypted").order_by("-created_at", "-id")
    rows = [
        (
            link("tenancy_virtualkey_change", key, pk=key.pk),
            key.name,
            key.created_at,
            _state(key),
            _deeds(key, may_change),
        )
        for key in keys[:MAX_ROWS]
    ]
    return table(["key", "name", "created", "state", ""], rows)


def _state(key: VirtualKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d %H:%M}"
    if key.expires_at is None:
        return "works"
    return f"{'expired' if key.expires_at <= timezone.now() else 'works until'} {key.expires_at:%Y-%m-%d %H:%M}"


def _deeds(key: VirtualKey, may_change: bool) -> SafeString | str:
    has_ended = key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= timezone.now())
    if has_ended or not may_change:
        return ""
    return in_a_row(
        link("tenancy_virtualkey_rotate", "Rotate", pk=key.pk),
        link("tenancy_virtualkey_revoke_one", "Revoke", pk=key.pk),
    )


def users_of(team: Team) -> Table:
    """The newest of its users."""
    rows = [
        (
            link("tenancy_teamuser_change", user.user_id, pk=user.pk),
            user.status,
            user.first_seen_at,
            user.last_seen_at,
        )
        for user in TeamUser.objects.filter(team=team).order_by("-id")[:MAX_ROWS]
    ]
    return table(["user", "status", "first seen", "last seen"], rows)


def groups_of(team: Team) -> Table:
    """In the order of assignment."""
    assignments = GroupAssignment.objects.filter(team=team).select_related("group")
    rows = [
        (link("modelgroups_modelgroup_change", one.group, pk=one.group_id), one.group.display_name, one.group.status)
        for one in assignments[:MAX_TEAMS]
    ]
    return table(["group", "name", "status"], rows)


def ledger_of(team: Team) -> Table:
    """The last entries."""
    entries = LedgerEntry.objects.filter(account_id=team.pk).order_by("-sequence")[:MAX_ROWS]
    rows = [
        (
            link("billing_ledgerentry_change", f"{entry.created_at:%Y-%m-%d %H:%M}", pk=entry.pk),
            entry.kind,
            f"{entry.amount:+d}",
            entry.balance_after,
            _short(entry.reason),
            link("jobs_job_change", "Job", pk=entry.job_id) if entry.job_id else "",
        )
        for entry in entries
    ]
    return table(["when", "kind", "credits", "balance", "reason", "job"], rows)


def history_of(entries: QuerySet[AuditEntry]) -> Table:
    """The last entries of the audit log."""
    rows = [
        (
            link("tenancy_auditentry_change", f"{entry.created_at:%Y-%m-%d %H:%M}", pk=entry.pk),
            entry.action,
            entry.subject,
            entry.actor,
            _short(entry.reason),
        )
        for entry in entries.order_by("-id")[:MAX_ROWS]
    ]
    return table(["when", "what", "subject", "who", "reason"], rows)


def teams_of(organization: Organization) -> Table:
    """The newest teams with their credits."""
    teams = Team.objects.filter(organization=organization).select_related("credit_account")
    rows = []
    for team in teams.order_by("-created_at", "-id")[:MAX_TEAMS]:
        account = team.credit_account
        numbers = [f"{number:,}" for number in (account.allocated, account.used, account.held, account.remaining)]
        rows.append([link("tenancy_team_change", team.team_id, pk=team.pk), team.team_alias, team.status, *numbers])
    return table(["team", "name", "status", "allocated", "used", "held", "left"], rows)


def statements_of(view: str, pk: int) -> Table:
    """This month's statement so far and those of the months before, by the name of their page."""
    month, rows = timezone.now().date().replace(day=1), []
    for _ in range(MONTHS):
        url = f"{reverse(view, args=[pk])}?period={month:%Y-%m}"
        to_print = format_html('<a href="{}">To print</a>', url)
        rows.append([f"{month:%Y-%m}", in_a_row(to_print, format_html('<a href="{}&amp;form=csv">CSV</a>', url))])
        month = (month - timedelta(days=1)).replace(day=1)
    return table(["month", "statement"], rows)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}…"


def cards_of(account: CreditAccount, budget_usd: Decimal) -> list[tuple[str, str]]:
    """A balance, the largest question first."""
    return [
        ("Available", f"{account.available:,}"),
        ("Left", f"{account.remaining:,}"),
        ("Held by open jobs", f"{account.held:,}"),
        ("Used", f"{account.used:,}"),
        ("Allocated", f"{account.allocated:,}"),
        ("Budget (USD)", f"{budget_usd:,.2f}"),
    ]
