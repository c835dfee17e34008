"""Calls that go through LiteLLM Proxy: by which key, and what to do where the proxy does not know it (yet)."""

import time
from dataclasses import replace
from uuid import UUID

from django.conf import settings

from config.foundation import async_database, encryption
from jobs.callpath.fallback import Send
from jobs.callpath.statements import SUSPECT_PROXY_TEAM
from modelgroups.gateway.errors import AttemptFailed, Cause
from modelgroups.gateway.proxy_calls import IN_STEP_AFTER_S, not_in_step
from modelgroups.gateway.types import ChatAnswer, ProxyRoute, Target

#: A model that says itself where it is, whose key it is asked with, or what it answers, is none of the proxy's.
ASKED_DIRECTLY = frozenset({"api_base", "credential", "mock_response"})


def route_of(row: async_database.Row) -> ProxyRoute | None:
    """The way to the proxy for a claimed call's team; None where no proxy is configured."""
    if not settings.LITELLM_PROXY_URL:
        return None
    return _route(row["platform_key_encrypted"], is_in_step=bool(row["is_in_step"]))


def by_proxy(target: Target, route: ProxyRoute | None) -> Target:
    """As it is asked where this is the way to the proxy: by it, with its key instead of the model's own."""
    if route is None or target.config.keys() & ASKED_DIRECTLY:
        return target
    return replace(target, proxy=route, api_key=None)


def through_proxy(send: Send, *, call_id: UUID) -> Send:
    """`send`, but for targets with a route it tells the synchronizer when the proxy does not know the team's key.

    The fallback policy then asks again, and finds the key that was made meanwhile.
    """
    refused_at: float | None = None

    async def asking(target: Target, timeout_s: float) -> ChatAnswer:
        nonlocal refused_at
        if target.proxy is None:
            return await send(target, timeout_s)
        route = target.proxy
        if refused_at is not None and not route.key:
            route = await _made_meanwhile(call_id)
        if refused_at is not None and time.monotonic() - refused_at >= IN_STEP_AFTER_S:
            # The synchronizer has had its turn: what the proxy says now counts as it is said.
            route = replace(route, is_in_step=True)
        try:
            if not route.key:
                raise not_in_step("NoPlatformKey")
            return await send(replace(target, proxy=route), timeout_s)
        except AttemptFailed as error:
            if error.cause is Cause.NOT_IN_STEP and refused_at is None:
                refused_at = time.monotonic()
                await async_database.fetch_one(SUSPECT_PROXY_TEAM, {"call_id": call_id})
            raise

    return asking


async def _made_meanwhile(call_id: UUID) -> ProxyRoute:
    row = await async_database.fetch_one(SUSPECT_PROXY_TEAM, {"call_id": call_id})
    return _route(row["platform_key_encrypted"] if row else None, is_in_step=False)


def _route(secret: bytes | None, *, is_in_step: bool) -> ProxyRoute:
    key = "" if secret is None else encryption.decrypted_text(bytes(secret))
    return ProxyRoute(url=settings.LITELLM_PROXY_URL, key=key, is_in_step=is_in_step)
