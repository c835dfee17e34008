"""What a call on its way to a worker is held to."""

import hashlib
import math
from collections.abc import Iterable
from uuid import UUID

from django.conf import settings

from config.foundation.errors import DomainError
from jobs.callpath.limits.limiter import Limiter
from jobs.callpath.limits.subjects import Kind, Standing, Subject
from jobs.errors import CallExceedsLimit, RateLimited, TooManyCalls
from modelgroups.gateway.ceilings import Ceiling
from tenancy.queries.principals import Principal, TeamRef

#: How much of a limit is taken, at most, for an answer whose length nobody has set.
UNKNOWN_ANSWERS_SHARE = 10
#: How long a slot is held beyond the call's deadline: until the sweeper has ended what outlived it.
SLOT_GRACE_S = 30.0
#: OpenAI's libraries do not heed a Retry-After of more than a minute, and try again at once. A window's last bucket
#: makes waits longer by half a second than that; who comes so much too early waits a second more.
LONGEST_HEEDED_S = 60
MOST_BEYOND_S = 0.5


class Held:
    """One call's limits; after `take`, how it stands with them, and whether there is something to settle."""

    def __init__(self, subjects: Iterable[Subject] = ()) -> None:
        self.subjects = tuple(subject for subject in subjects if any(subject.limits()))
        self.standing = Standing()
        self._is_taken = False

    @property
    def counts_tokens(self) -> bool:
        """Whether `take` wants to know how many."""
        return any(subject.tokens_per_minute is not None for subject in self.subjects)

    @property
    def is_taken(self) -> bool:
        """Whether whoever ends the call has to settle it."""
        return self._is_taken

    async def take(self, limiter: Limiter, call_id: UUID, *, ceiling: Ceiling | None, deadline_s: float) -> None:
        """Take what the call needs of each limit. Raises RateLimited, CallExceedsLimit, TooManyCalls: nothing is taken.

        `ceiling` may only be None where tokens are not counted.
        """
        if not self.subjects:
            return
        tokens = 0 if ceiling is None else self._estimate(ceiling)
        self.standing = await limiter.admit(call_id, self.subjects, tokens=tokens, holds_s=deadline_s + SLOT_GRACE_S)
        if self.standing.refused_by is not None:
            raise _refusal(self.standing, tokens)
        self._is_taken = True

    async def give_back(self, limiter: Limiter, call_id: UUID) -> None:
        """There will be no such call, so it took no tokens. It was a request all the same."""
        if self._is_taken:
            self._is_taken = False
            self.standing = self.standing.updated(await limiter.settle(call_id, tokens=0))

    def _estimate(self, ceiling: Ceiling) -> int:
        """What the call may take. Where it sets no limit to its answer, that shall not be what keeps it out."""
        if ceiling.output is not None:
            return ceiling.input + ceiling.output * ceiling.answers
        least = min(most for subject in self.subjects if (most := subject.tokens_per_minute) is not None)
        unknown = min(settings.BUDGET_OUTPUT_TOKENS * ceiling.answers, least // UNKNOWN_ANSWERS_SHARE)
        # An answer must not make a call too large that is not too large by itself.
        return max(ceiling.input, min(ceiling.input + unknown, least))


def held_to(team: TeamRef, principal: Principal, *, user_id: str = "") -> Held:
    """A call for a team, and for the user that it names. An operator's key has no limits of its own."""
    subjects = [
        Subject(
            "team",
            str(team.pk),
            requests_per_minute=team.requests_per_minute or settings.TEAM_REQUESTS_PER_MINUTE or None,
            tokens_per_minute=team.tokens_per_minute or settings.TEAM_TOKENS_PER_MINUTE or None,
            # The default is PostgreSQL's to count, at no cost (ADMIT_CALL).
            calls_in_flight=team.max_calls_in_flight,
        )
    ]
    if principal.kind == "team":
        key = principal.key
        subjects.append(
            Subject(
                "key",
                str(principal.key_id),
                requests_per_minute=key.requests_per_minute or settings.KEY_REQUESTS_PER_MINUTE or None,
                tokens_per_minute=key.tokens_per_minute or settings.KEY_TOKENS_PER_MINUTE or None,
                calls_in_flight=key.max_calls_in_flight or settings.KEY_CALLS_IN_FLIGHT or None,
            )
        )
    if user_id:
        subjects.append(
            Subject(
                "user",
                # By a digest: names have any characters, and Redis need not know them.
                f"{team.pk}-{hashlib.sha256(user_id.encode()).hexdigest()}",
                requests_per_minute=team.user_requests_per_minute,
                tokens_per_minute=team.user_tokens_per_minute,
            )
        )
    return Held(subjects)


def _refusal(standing: Standing, tokens: int) -> DomainError:
    limit = standing.refused_by
    if limit is None:
        raise RuntimeError("a call that was not refused")
    if limit.kind is Kind.CALLS:
        return TooManyCalls(limit.most, limit.owner)
    if standing.retry_after_s is None:
        return CallExceedsLimit(tokens=tokens, limit=limit.most, owner=limit.owner)
    return RateLimited(
        kind=limit.kind, limit=limit.most, owner=limit.owner, retry_after_s=retry_after(standing.retry_after_s)
    )


def retry_after(wait_s: float) -> int:
    """In whole seconds, as `Retry-After` has it."""
    if LONGEST_HEEDED_S < wait_s <= LONGEST_HEEDED_S + MOST_BEYOND_S:
        return LONGEST_HEEDED_S
    return max(math.ceil(wait_s), 1)
