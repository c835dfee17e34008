"""The worker's side of a test call: one model is asked once, and no team has it on its bill."""

import logging
import time
from uuid import UUID

from django.conf import settings

from config.foundation import async_database
from jobs.callpath.fallback import milliseconds_since
from jobs.callpath.proxied import by_proxy
from jobs.callpath.targets import NAMED_CREDENTIAL, TARGET_COLUMNS, target_of
from modelgroups.gateway import chat
from modelgroups.gateway.errors import AttemptFailed, Cause
from modelgroups.gateway.types import MOST_COST_USD, ChatAnswer, ChatRequest, ProxyRoute

logger = logging.getLogger(__name__)

#: No `max_tokens`: some models refuse it, and some think before they say a word.
REQUEST = ChatRequest(messages=[{"role": "user", "content": "Reply with the single word OK."}], parameters={})
TIMEOUT_S = 30.0

#: Once, and soon: nobody waits any more for one that lay in the queue for a minute.
_CLAIM_CHECK = f"""
    WITH claimed AS (
        UPDATE jobs_modelcheck SET state = 'running'
        WHERE id = %(check_id)s AND state = 'queued' AND created_at > now() - interval '1 minute'
        RETURNING id, model_id, organization_id
    )
    SELECT {TARGET_COLUMNS}
    FROM claimed t
    LEFT JOIN modelgroups_groupmodel m ON m.id = t.model_id
    {NAMED_CREDENTIAL}
"""  # noqa: S608 (parts of our own)

_RECORD_CHECK = """
    UPDATE jobs_modelcheck SET state = %(state)s, cause = %(cause)s, error_class = %(error_class)s,
        http_status = %(http_status)s, latency_ms = %(latency_ms)s, prompt_tokens = %(prompt_tokens)s,
        completion_tokens = %(completion_tokens)s, cost_usd = %(cost_usd)s, ended_at = clock_timestamp()
    WHERE id = %(check_id)s AND state = 'running'
"""


async def run_check(check_id: UUID) -> None:
    """Ask, and record how it went. A check that somebody else has is left alone."""
    row = await async_database.fetch_one(_CLAIM_CHECK, {"check_id": check_id})
    if row is None:
        return
    started = time.monotonic()
    result: ChatAnswer | AttemptFailed
    try:
        if row["model_name"] is None:
            raise AttemptFailed(Cause.MODEL_NOT_FOUND, error_class="ModelRemoved")
        target = by_proxy(target_of(row), _operators_route())
        result = await chat.ask(target, REQUEST, timeout_s=min(TIMEOUT_S, target.config.get("timeout", TIMEOUT_S)))
    except AttemptFailed as error:
        result = error
    except Exception as error:
        logger.exception("testing a model failed in a way that it should not")
        result = AttemptFailed(Cause.UNEXPECTED, error_class=type(error).__name__)
    failed = result if isinstance(result, AttemptFailed) else None
    usage = result.usage
    outcome = {
        "check_id": check_id,
        "state": "failed" if failed else "succeeded",
        "cause": failed.cause if failed else "",
        "error_class": failed.error_class[:128] if failed else "",
        "http_status": failed.http_status if failed else None,
        "latency_ms": milliseconds_since(started),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cost_usd": None if usage.cost_usd is None else min(usage.cost_usd, MOST_COST_USD),
    }
    await async_database.fetch_one(_RECORD_CHECK, outcome)


def _operators_route() -> ProxyRoute | None:
    """With the operator's own key: a team's would count it as the team's."""
    if not settings.LITELLM_PROXY_URL:
        return None
    return ProxyRoute(url=settings.LITELLM_PROXY_URL, key=settings.LITELLM_MASTER_KEY, is_in_step=True)
