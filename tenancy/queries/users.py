"""The users of teams: how they are named, and reads of them."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from django.db.models import QuerySet
from django.utils import timezone

from config.foundation.errors import InvalidInput
from tenancy.errors import TeamUserNotFound
from tenancy.models import TeamUser, UserLimit

MAX_USER_LENGTH = 128
#: What we name users by ourselves begins so: no client's id may have it, and a URL needs no escape for it.
OURS = "~"
USER_RULE = "must be 1 to 128 printable characters, without /"


def stored_user_id(text: str) -> str:
    """What OpenAI's clients call a user, which may be any text, as it is stored: such that a path can name it.

    Up to 128 printable characters without "/" are taken as they are. Of anything else, "~" and the SHA-256 of its
    UTF-8, in hexadecimal digits. No text is no user.
    """
    if not text or (is_user_id(text) and not text.startswith(OURS)):
        return text
    return OURS + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_user_id(text: str) -> bool:
    """Whether it can be somebody's: "." and ".." cannot, because clients resolve them in paths."""
    return 0 < len(text) <= MAX_USER_LENGTH and text.isprintable() and "/" not in text and text not in (".", "..")


def check_user_id(text: str) -> str:
    """A user's id from a path. Raises InvalidInput."""
    if not is_user_id(text):
        raise InvalidInput(USER_RULE, field="user_id")
    return text


def users_of_team(*, team_pk: int, status: str | None = None) -> QuerySet[TeamUser]:
    """A team's users with their limits, those seen last for the first time first. Erased ones by their pseudonyms."""
    users = TeamUser.objects.filter(team_id=team_pk).order_by("-id").prefetch_related("limits")
    return users.filter(status=status) if status else users


def get_user(*, team_pk: int, user_id: str) -> TeamUser:
    """One of them. Raises InvalidInput, TeamUserNotFound."""
    user = users_of_team(team_pk=team_pk).filter(user_id=check_user_id(user_id)).first()
    if user is None:
        raise TeamUserNotFound
    return user


@dataclass(frozen=True)
class Allowance:
    """A limit and what is used of it in the current month: credits, or USD."""

    limit: Decimal
    taken: Decimal
    reserved: Decimal


def allowances_of(user: TeamUser, *, now: datetime | None = None) -> dict[str, Allowance]:
    """By UserLimit.Kind. In a month in which nothing was counted yet, nothing is said to be taken."""
    month = (now or timezone.now()).astimezone(UTC).date().replace(day=1)
    return {limit.kind: _allowance(limit, is_current=limit.month == month) for limit in user.limits.all()}


def _allowance(limit: UserLimit, *, is_current: bool) -> Allowance:
    nothing = Decimal(0)
    return Allowance(limit.amount, limit.taken if is_current else nothing, limit.reserved if is_current else nothing)
