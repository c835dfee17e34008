"""Writing a call down before it is dispatched, or saying why not."""

import json
import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import IntegrityError, connection, transaction

from config.foundation import async_database, encryption
from config.foundation.errors import DomainError
from config.foundation.failpoints import failpoint
from jobs.callpath import content
from jobs.callpath.idempotency import CallKey
from jobs.callpath.messages import Reply
from jobs.callpath.statements import ADMIT_CALL, ADMIT_DIRECT_CALL, ADMIT_OPENAI_CALL, ADMIT_STORED_CALL
from jobs.errors import (
    BudgetTooSmall,
    CallNotFound,
    JobAlreadyEnded,
    JobNotFound,
    ModelAccessDenied,
    NotRetryable,
    TooManyCalls,
)
from jobs.services.jobs import open_job
from modelgroups.errors import ModelGroupAccessDenied, ModelPriceUnknown
from modelgroups.gateway.ceilings import Ceiling, ceiling
from modelgroups.gateway.endpoints import CHAT
from modelgroups.gateway.prices import most_per_token
from tenancy.errors import TeamUserBlocked, UserLimitReached
from tenancy.queries.principals import TeamRef

#: The rule of the database (jobs' migration user_rules).
COST_OF_USER = "user_keeps_to_his_cost"


@dataclass(frozen=True)
class CallRequest:
    """A validated call. `parameters` are a chat completion's, by OpenAI's and LiteLLM's names.

    With an `endpoint` it is an OpenAI client's: `model_group` may then be a model's name, and the answer is the
    provider's own. Endpoints other than chat completions have no messages, but all in their parameters.
    """

    model_group: str
    messages: list[dict[str, Any]] = field(repr=False)
    parameters: dict[str, Any]
    purpose: str = ""
    endpoint: str = ""
    #: Whom an OpenAI client names; empty: nobody but its job's user.
    user_id: str = ""
    retry_of: UUID | None = None
    #: It is asynchronous: whoever asked does not wait, so the request is kept until a worker has ended it.
    is_stored: bool = False
    #: With a key, the call is made once at most.
    key: CallKey | None = None
    call_id: UUID = field(default_factory=uuid.uuid4)
    #: The web process that waits for it, and hands it over again where it was lost. None where nobody waits.
    process_id: UUID | None = None
    #: What it may take, where somebody has counted already.
    ceiling: Ceiling | None = None

    @property
    def deadline_s(self) -> float:
        """From its admission."""
        deadline_s: float = settings.ASYNC_CALL_DEADLINE_S if self.is_stored else settings.CALL_DEADLINE_S
        return deadline_s

    def count(self) -> Ceiling:
        """What it may take; it has to be read for that."""
        return self.ceiling or ceiling(self.messages, self.parameters, self.endpoint or CHAT)


@dataclass(frozen=True)
class NewJob:
    """A job to be made for one call, and to end with it."""

    job_type: str
    user_id: str
    metadata: dict[str, Any]
    virtual_key_id: UUID | None


async def admit(*, team: TeamRef, job_id: UUID | None, request: CallRequest) -> UUID:
    """Write a call down in a job, or a direct one, and return its id.

    Raises JobNotFound, JobAlreadyEnded, ModelGroupAccessDenied, ModelAccessDenied, CallNotFound, NotRetryable,
    TooManyCalls, ModelPriceUnknown, BudgetTooSmall, TeamUserBlocked, UserLimitReached; then there is no record.
    """
    statement, parameters = _statement(team=team, job_id=job_id, request=request)
    try:
        row = await async_database.fetch_one(statement, parameters)
        if missed := _missed_prices(row, parameters):
            # In a thread: the first look at LiteLLM's prices reads a large file.
            priced = await async_database.in_thread(partial(_with_prices, missed, parameters))
            row = await async_database.fetch_one(statement, priced)
    except psycopg.IntegrityError as error:
        raise _translated(error, team=team, request=request) from error
    return _admitted(row, team=team, request=request)


@transaction.atomic
def open_job_and_admit(*, team: TeamRef, job: NewJob, request: CallRequest) -> tuple[UUID, UUID]:
    """Open a job for a call and write the call down, or neither: (job's id, call's id).

    Raises as admit and as open_job.
    """
    opened = open_job(
        team=team,
        virtual_key_id=job.virtual_key_id,
        job_type=job.job_type,
        user_id=job.user_id,
        metadata=job.metadata,
        ends_with_call=True,
    )
    # The call is the job's user's. Were he looked up by his name a second time, he might be somebody else by then.
    statement, parameters = _statement(team=team, job_id=opened.job_id, request=replace(request, user_id=""))
    try:
        row = _fetch(statement, parameters)
        if missed := _missed_prices(row, parameters):
            row = _fetch(statement, _with_prices(missed, parameters))
    except IntegrityError as error:
        raise _translated(error.__cause__, team=team, request=request) from error
    failpoint("web.job_opened_for_call")
    return opened.job_id, _admitted(row, team=team, request=request)


def _fetch(statement: str, parameters: dict[str, Any]) -> async_database.Row:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        names = [column.name for column in cursor.description]
        return dict(zip(names, cursor.fetchone(), strict=True))


#: What a name that a client asks for was found to stand for: the models without a price of their own, and LiteLLM's
#: prices as JSON, null where it knows none. Only which of them are asked is the database's to say, so none gets old.
_prices: dict[str, dict[str, list[str] | None]] = {}
#: More names than anybody has.
MAX_PRICED_NAMES = 10_000


def _missed_prices(row: async_database.Row | None, parameters: dict[str, Any]) -> list[str]:
    """The names whose prices the statement was not given."""
    known = _prices.get(parameters["model_group"], {})
    return [name for name in (row and row["unpriced"]) or () if name not in known]


def _with_prices(names: list[str], parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters with these prices, too, which are kept for the next call."""
    if len(_prices) >= MAX_PRICED_NAMES:
        _prices.clear()
    known = _prices.setdefault(parameters["model_group"], {})
    for name in names:
        price = most_per_token(name)
        known[name] = None if price is None else [format(usd, "f") for usd in price]
    return {**parameters, "prices": json.dumps(known)}


def _statement(*, team: TeamRef, job_id: UUID | None, request: CallRequest) -> tuple[str, dict[str, Any]]:
    tokens = request.count()
    parameters = {
        "call_id": request.call_id,
        "job_id": job_id,
        "team_pk": team.pk,
        "model_group": request.model_group,
        "endpoint": request.endpoint,
        "user_id": request.user_id,
        "purpose": request.purpose,
        "retry_of": request.retry_of,
        "process_id": request.process_id,
        "deadline": timedelta(seconds=request.deadline_s),
        "max_in_flight": _max_in_flight(team),
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "answers": tokens.answers,
        # A model's own limit is sent along to no other endpoint.
        "is_chat": (request.endpoint or CHAT) == CHAT,
        "output_default": settings.BUDGET_OUTPUT_TOKENS,
        "prices": json.dumps(_prices.get(request.model_group, {})),
        "credit_price_usd": Decimal(settings.CREDIT_PRICE_USD),
        # Where there is a LiteLLM Proxy, its count is the one that calls are held to (ADR 61).
        "is_held_to_budget": not settings.LITELLM_PROXY_URL,
    }
    if request.endpoint:
        return (ADMIT_DIRECT_CALL if job_id is None else ADMIT_OPENAI_CALL), parameters
    if not request.is_stored:
        return ADMIT_CALL, parameters
    reply = Reply(request.call_id, state="queued", job={"job_id": str(job_id)})
    return ADMIT_STORED_CALL, {
        **parameters,
        "content": content.encrypt_request(request.messages, request.parameters),
        "key_scope": request.key.scope if request.key else None,
        "key": request.key.key if request.key else None,
        "key_reply": encryption.encrypt(reply.encode()) if request.key else None,
    }


def _max_in_flight(team: TeamRef) -> int:
    return settings.TEAM_CALLS_IN_FLIGHT if team.max_calls_in_flight is None else team.max_calls_in_flight


def _translated(error: BaseException | None, *, team: TeamRef, request: CallRequest) -> BaseException:
    """What a broken constraint means here. It can only break where somebody else was a moment faster."""
    if isinstance(error, psycopg.errors.UniqueViolation):
        return NotRetryable("this call has been retried already")
    if isinstance(error, psycopg.errors.ForeignKeyViolation):
        # The group was deleted between the statement's look at it and the insert.
        return _access_denied(team, request)
    if isinstance(error, psycopg.errors.CheckViolation) and error.diag.constraint_name == COST_OF_USER:
        return UserLimitReached(limit="USD")
    return error or RuntimeError("an integrity error without a cause")


def _admitted(row: async_database.Row | None, *, team: TeamRef, request: CallRequest) -> UUID:
    if row is None:
        raise RuntimeError("ADMIT_CALL always returns a row")
    if row["call_id"] is not None:
        return row["call_id"]
    raise _refusal(row, team=team, request=request)


def _refusal(row: async_database.Row, *, team: TeamRef, request: CallRequest) -> DomainError:
    """Why ADMIT_CALL inserted nothing."""
    if row["job_status"] is None:
        return JobNotFound()
    if row["group_id"] is None:
        return _access_denied(team, request)
    if row["job_status"] not in ("pending", "in_progress"):
        return JobAlreadyEnded(row["job_status"], "no further call can be made in it")
    if row["user_status"] == "blocked":
        return TeamUserBlocked()
    if request.retry_of is not None and row["retried_state"] is None:
        return CallNotFound(str(request.retry_of))
    if row["is_retried"]:
        return NotRetryable("this call has been retried already")
    if row["retried_state"] in ("queued", "running", "succeeded"):
        return NotRetryable(f"this call has not failed, it is {row['retried_state']}")
    if row["in_flight"] >= _max_in_flight(team):
        return TooManyCalls(_max_in_flight(team))
    if row["unpriced"]:
        return ModelPriceUnknown(request.model_group)
    return BudgetTooSmall(
        limit_usd=row["limit_usd"] or Decimal(0),
        spent_usd=row["spent_usd"] or Decimal(0),
        reserved_usd=row["reserved_usd"] or Decimal(0),
        estimate_usd=row["estimate_usd"] or Decimal(0),
    )


def _access_denied(team: TeamRef, request: CallRequest) -> DomainError:
    denied = ModelAccessDenied if request.endpoint else ModelGroupAccessDenied
    return denied(team.team_id, request.model_group)
