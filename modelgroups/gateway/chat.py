"""Asking a model: by one plain POST where that does, else through LiteLLM's SDK. Workers only: it imports litellm."""

from modelgroups.gateway import openai_http, sdk
from modelgroups.gateway.types import ChatAnswer, ChatRequest, Target


async def ask(target: Target, request: ChatRequest, *, timeout_s: float) -> ChatAnswer:
    """Ask one model once. Raises AttemptFailed; no other exception means a bug of ours."""
    way = openai_http.chat if openai_http.is_plain_openai(target) else sdk.chat
    return await way(target, request, timeout_s=timeout_s)


async def start() -> None:
    """Load what the first call would otherwise have to wait for."""
    await sdk.warm_up()


async def close() -> None:
    """Close what is open on the running event loop."""
    await openai_http.close()
