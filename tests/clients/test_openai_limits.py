"""Rate limits and restricted keys, as OpenAI's SDK for Python meets them."""

import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.support.fake_provider import ANSWER
from tests.support.live import MakeStack, Tenants
from tests.support.stack import FakeProvider, Stack

MESSAGES: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Analyze this."}]
MODEL = "secret-model-0"


@pytest.fixture(scope="module")
def quick(make_stack: MakeStack) -> Iterator[Stack]:
    """A minute of two seconds."""
    with make_stack("web", "worker", RATE_LIMIT_WINDOW_S="2") as running:
        yield running


@pytest.fixture(scope="module")
def quick_tenants(quick: Stack, provider: FakeProvider) -> Tenants:
    return Tenants.on(quick, provider)


def client(tenants: Tenants, *, max_retries: int = 0, **terms: Any) -> OpenAI:
    """With a key of a new team's, restricted so."""
    team = tenants.team([tenants.group("ok")])
    made = tenants.operator.post(f"/api/teams/{team.team_id}/keys", json=terms)
    assert made.status_code == 200, made.text
    base_url = f"{tenants.stack.url()}/v1"
    return OpenAI(api_key=made.json()["virtual_key"], base_url=base_url, max_retries=max_retries, timeout=30)


def ask(client: OpenAI, **fields: Any) -> str | None:
    answer = client.chat.completions.create(model=fields.pop("model", MODEL), messages=MESSAGES, **fields)
    return str(answer.choices[0].message.content)


def test_too_many_requests_are_a_rate_limit_error(quick_tenants: Tenants) -> None:
    with client(quick_tenants, requests_per_minute=1) as limited:
        raw = limited.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
        assert raw.headers["x-ratelimit-limit-requests"] == "1"
        assert raw.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as caught:
            ask(limited)
        # A stream is refused before it begins.
        with pytest.raises(openai.RateLimitError):
            limited.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)

    error = caught.value
    assert (error.code, error.type) == ("rate_limit_exceeded", "requests")
    assert "this key may take 1 requests per minute" in error.message
    assert int(error.response.headers["retry-after"]) >= 1
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0"


def test_retry_after_is_waited_for_and_enough(quick_tenants: Tenants) -> None:
    """One retry does: the SDK waits for as long as it is told, and then there is room."""
    with client(quick_tenants, max_retries=1, requests_per_minute=1) as limited:
        ask(limited)
        began = time.monotonic()
        assert ask(limited) == ANSWER
        assert 1 <= time.monotonic() - began < 6


def test_a_request_that_never_fits_is_not_tried_again(quick_tenants: Tenants) -> None:
    with client(quick_tenants, max_retries=5, tokens_per_minute=500) as limited:
        began = time.monotonic()
        with pytest.raises(openai.RateLimitError) as caught:
            ask(limited, max_tokens=1000)
        assert time.monotonic() - began < 2

    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "tokens")
    assert "max_tokens" in caught.value.message


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"scopes": ["read", "jobs"]}, "insufficient_scope"),
        ({"allowed_models": ["another"]}, "model_not_allowed"),
        ({"allowed_ips": ["192.0.2.0/24"]}, "address_not_allowed"),
    ],
)
def test_what_a_key_may_not_is_permission_denied(quick_tenants: Tenants, terms: Any, code: str) -> None:
    with client(quick_tenants, **terms) as restricted, pytest.raises(openai.PermissionDeniedError) as caught:
        ask(restricted)
    assert caught.value.code == code


def test_a_key_within_its_terms_works(quick_tenants: Tenants) -> None:
    terms: dict[str, Any] = {"scopes": ["direct"], "allowed_models": [MODEL], "allowed_ips": ["127.0.0.0/8", "::1"]}
    with client(quick_tenants, **terms) as restricted:
        assert ask(restricted) == ANSWER
        assert [model.id for model in restricted.models.list()] == [MODEL]
