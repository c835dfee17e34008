"""A team's users: seen for the first time by the statement that opens their job or admits their call."""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from django.db import connection, transaction
from django.utils import timezone

from tenancy.errors import TeamUserErased
from tenancy.models import TeamUser, UserLimit
from tenancy.queries.users import OURS
from tenancy.services import audit

#: For statements of jobs' (parameters: team_pk, user_id): the user as `known` before; and as `seen` now, if he is new
#: or was not seen for an hour, so that most statements write nothing here. "-- where" is to be replaced by when.
#: A conflict is an update, not nothing: of two that see somebody first, both get his id.
SEE_USER = """
    known AS (
        SELECT id, status, last_seen_at > now() - interval '1 hour' AS is_fresh FROM tenancy_teamuser
        WHERE team_id = %(team_pk)s AND user_id = %(user_id)s
    ),
    seen AS (
        INSERT INTO tenancy_teamuser (team_id, user_id, status, first_seen_at, last_seen_at)
        SELECT %(team_pk)s::bigint, %(user_id)s::text, 'active', now(), now()
        -- where
        ON CONFLICT (team_id, user_id) DO UPDATE SET last_seen_at = EXCLUDED.last_seen_at
        RETURNING id, status
    )
"""

#: Absent: as it is. None: no limit.
Limits = Mapping[str, Decimal | None]


@transaction.atomic
def change_user(*, user_pk: int, status: str | None = None, limits: Limits, actor: str, reason: str = "") -> TeamUser:
    """Block or unblock a user ("blocked", "active", None: as it is), and set limits, by UserLimit.Kind.

    The audit entry has his number instead of his name: entries stay, and he may have to be forgotten.
    Raises TeamUserErased.
    """
    user = TeamUser.objects.select_for_update(no_key=True).get(pk=user_pk)
    _require_not_erased(user)
    now_limited = dict(user.limits.values_list("kind", "amount"))
    before = {"status": user.status, **{kind: now_limited.get(kind) for kind in limits}}
    after = {"status": status or user.status, **limits}
    changed_before, changed_after = audit.changes(before, after)
    if not changed_after:
        return user
    user.status = status or user.status
    user.save(update_fields=["status"])
    # In this order: it is that of the locks (jobs' migration user_rules).
    for kind in sorted(limits):
        _set_limit(user_pk, kind, limits[kind])
    audit.record(
        actor=actor,
        action="user.changed",
        subject=_subject(user),
        team_pk=user.team_id,
        before=_plain(changed_before),
        after=_plain(changed_after),
        reason=reason,
    )
    return user


def _set_limit(user_pk: int, kind: str, amount: Decimal | None) -> None:
    if amount is None:
        UserLimit.objects.filter(user_id=user_pk, kind=kind).delete()
    else:
        UserLimit.objects.update_or_create(user_id=user_pk, kind=kind, defaults={"amount": amount})


@transaction.atomic
def begin_erasure(*, user_pk: int, actor: str, reason: str = "") -> TeamUser:
    """Give a user a random pseudonym at once, and mark what else is stored of him to be erased (jobs.services.erasure).

    Repeating it changes nothing. The same name seen again is somebody new. Audit entry: by the pseudonym.
    """
    user = TeamUser.objects.select_for_update().get(pk=user_pk)
    if user.status in (TeamUser.Status.ERASING, TeamUser.Status.ERASED):
        return user
    user.user_id = f"{OURS}erased-{uuid.uuid4().hex}"
    user.status = TeamUser.Status.ERASING
    user.erasure_requested_at = timezone.now()
    user.save(update_fields=["user_id", "status", "erasure_requested_at"])
    for kind in sorted(UserLimit.Kind.values):
        _set_limit(user_pk, kind, None)
    audit.record(actor=actor, action="user.erasure_began", subject=user.user_id, team_pk=user.team_id, reason=reason)
    return user


def note_erasure_run(user: TeamUser, run: Mapping[str, object]) -> None:
    """Where to go on with him."""
    TeamUser.objects.filter(pk=user.pk).update(erasure_run=run)


def put_off_erasure(user: TeamUser) -> None:
    """Begin anew, later, with one of whom something is open: after a tenth of the time that he has waited.

    At most ten minutes later, and in the first minute in the very next run.
    """
    now = timezone.now()
    waited = now - (user.erasure_requested_at or now)
    pause = min(max(waited - timedelta(minutes=1), timedelta(0)) / 10, timedelta(minutes=10))
    TeamUser.objects.filter(pk=user.pk).update(next_erasure_at=now + pause, erasure_run=None)


@transaction.atomic
def end_erasure(*, user_pk: int) -> bool:
    """Note that nothing of him is left; whether that was news."""
    now = timezone.now()
    erasing = TeamUser.objects.filter(pk=user_pk, status=TeamUser.Status.ERASING)
    if not erasing.update(status=TeamUser.Status.ERASED, erased_at=now, erasure_run=None):
        return False
    user = TeamUser.objects.get(pk=user_pk)
    audit.record(actor=audit.SYSTEM, action="user.erased", subject=user.user_id, team_pk=user.team_id)
    return True


#: Whether nobody's statement looks at the database as it was before the user's row was written for the last time: one
#: that waits for a lock, say, and has written nothing yet, so that it has no transaction's id. These columns are shown
#: to every role. Nobody writes the row meanwhile but the erasure, after which there is only more to wait for.
_OLD_VIEWS_ARE_GONE = """
    SELECT NOT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND usesysid IS NOT NULL AND pid <> pg_backend_pid()
            AND age(backend_xmin) >= age(u.xmin))
    FROM tenancy_teamuser u WHERE u.id = %s AND u.erasure_xid IS NULL
"""
#: By an id of its own: a snapshot's xmax is after the last that has ended, and others may run that are later than that.
_NOTE_TRANSACTIONS = """
    UPDATE tenancy_teamuser SET erasure_xid = pg_current_xact_id()::text::bigint
    WHERE id = %s AND erasure_xid IS NULL
"""
_TRANSACTIONS_ARE_OVER = """
    SELECT COALESCE(erasure_xid <= pg_snapshot_xmin(pg_current_snapshot())::text::bigint, false)
    FROM tenancy_teamuser WHERE id = %s
"""


def is_name_settled(user_pk: int) -> bool:
    """Whether all transactions are over that may still have known an erased user's name.

    To be asked after the name's change has committed, until it is true, and not within a transaction. Whoever read the
    name has either a statement that still does, or a transaction that wrote: when there are no such statements any
    more, it is written down up to which transaction that may be.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OLD_VIEWS_ARE_GONE, [user_pk])
        if cursor.fetchone() == (True,):
            # Later than that look: a transaction that was a statement then has its id by now.
            cursor.execute(_NOTE_TRANSACTIONS, [user_pk])
        cursor.execute(_TRANSACTIONS_ARE_OVER, [user_pk])
        (is_settled,) = cursor.fetchone()
    return bool(is_settled)


def _require_not_erased(user: TeamUser) -> None:
    if user.status in (TeamUser.Status.ERASING, TeamUser.Status.ERASED):
        raise TeamUserErased


def _subject(user: TeamUser) -> str:
    return f"user {user.pk}"


def _plain(fields: Mapping[str, object]) -> dict[str, object]:
    """Amounts as texts: JSON has no decimals."""
    return {
        name: format(value.normalize(), "f") if isinstance(value, Decimal) else value for name, value in fields.items()
    }
