"""Streamed answers, by either way to ask a model: LiteLLM's SDK, and the plain POST."""

import asyncio
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from modelgroups.gateway import chat
from modelgroups.gateway.errors import AttemptFailed, Cause
from modelgroups.gateway.sse import EventReader
from modelgroups.gateway.streams import ChatStream
from modelgroups.gateway.types import ChatAnswer, ChatDelta, ChatRequest, Target
from tests.support.fake_provider import ANSWER, COMPLETION_TOKENS, PROMPT_TOKENS
from tests.support.stack import FakeProvider, eventually, fake_provider

REQUEST = ChatRequest(messages=[{"role": "user", "content": "Hello there, how are you?"}], parameters={})
PRICE = Decimal("0.000001")
#: What makes the gateway take one way or the other for the same provider.
WAYS = {"post": "openai/hidden-model", "sdk": "litellm_proxy/hidden-model"}

TargetOf = Callable[[str], Target]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProvider]:
    with fake_provider(tmp_path_factory.mktemp("streams")) as running:
        yield running


def asked(provider: FakeProvider, behaviour: str, way: str) -> Target:
    price = {"input_cost_per_token": float(PRICE), "output_cost_per_token": float(PRICE)}
    config = {"model": WAYS[way], "api_base": f"{provider.url}/{behaviour}/{way}/v1", **price}
    return Target("hidden-model", config, "sk-test")


@pytest.fixture(params=WAYS)
def target(request: pytest.FixtureRequest, provider: FakeProvider) -> TargetOf:
    return lambda behaviour: asked(provider, behaviour, request.param)


@pytest.fixture
def plain(provider: FakeProvider) -> TargetOf:
    return lambda behaviour: asked(provider, behaviour, "post")


class Heard:
    """What a client would have got."""

    def __init__(self) -> None:
        self.pieces: list[ChatDelta] = []
        self.times: list[float] = []
        self.stream = ChatStream(self._hear)
        self._leave_after: int | None = None

    def _hear(self, piece: ChatDelta) -> None:
        self.pieces.append(piece)
        self.times.append(time.monotonic())
        if len(self.pieces) == self._leave_after:
            # A moment later, as a client would.
            asyncio.get_running_loop().call_later(0.05, self.stream.abandon)

    def leave_after(self, pieces: int | None) -> None:
        self._leave_after = pieces
        if pieces == 0:
            self.stream.abandon()

    @property
    def text(self) -> str:
        return "".join(piece.content or "" for piece in self.pieces)


def ask(
    target: Target,
    heard: Heard,
    *,
    request: ChatRequest = REQUEST,
    timeout_s: float = 10,
    deadline_s: float = 20,
    leave_after: int | None = None,
) -> ChatAnswer:
    async def asking() -> ChatAnswer:
        heard.leave_after(leave_after)
        try:
            return await chat.stream(target, request, heard.stream, timeout_s=timeout_s, deadline_s=deadline_s)
        finally:
            await chat.close()
            # LiteLLM closes its clients when its loop has gone, which is too late for a test.
            await asyncio.sleep(0)

    return asyncio.run(asking())


def failure(target: Target, heard: Heard, **limits: Any) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as caught:
        ask(target, heard, **limits)
    return caught.value


def test_an_answer_comes_in_pieces_and_as_a_whole(target: TargetOf) -> None:
    heard = Heard()
    answer = ask(target("ok"), heard)

    assert heard.text == answer.content == ANSWER
    assert answer.finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (PROMPT_TOKENS, COMPLETION_TOKENS)
    assert answer.usage.cost_usd == (PROMPT_TOKENS + COMPLETION_TOKENS) * PRICE
    assert not answer.usage.is_estimated


def test_pieces_come_as_they_are_made(target: TargetOf) -> None:
    heard = Heard()
    ask(target("tokens-5-at-10"), heard)

    assert len(heard.times) == 5
    assert heard.times[-1] - heard.times[0] > 0.3


def test_a_tool_call_comes_in_fragments_and_as_a_whole(target: TargetOf) -> None:
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}
    heard = Heard()
    request = ChatRequest(messages=REQUEST.messages, parameters={"tools": [tool]})
    answer = ask(target("tool-call"), heard, request=request)
    function = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    assert answer.tool_calls == [{"id": "call_1", "type": "function", "function": function}]
    assert (answer.content, answer.finish_reason) == (None, "tool_calls")
    assert heard.text == ""


def test_an_answer_in_one_piece_is_a_stream_of_one(plain: TargetOf) -> None:
    # LiteLLM's SDK reads a body that is no stream as an empty one.
    heard = Heard()

    assert ask(plain("whole"), heard).content == heard.text == ANSWER
    assert len(heard.pieces) == 1


def test_usage_that_nobody_reports_is_estimated(plain: TargetOf) -> None:
    answer = ask(plain("no-usage"), Heard())

    assert answer.usage.is_estimated
    assert answer.usage.prompt_tokens > 5
    assert answer.usage.completion_tokens == 5
    assert answer.usage.cost_usd == (answer.usage.prompt_tokens + 5) * PRICE


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [("cut-10", Cause.CUT_SHORT), ("hang-10", Cause.TIMEOUT), ("error-10", Cause.PROVIDER_ERROR)],
)
def test_an_answer_that_breaks_off_has_its_cost_and_no_fallback(target: TargetOf, behaviour: str, cause: Cause) -> None:
    heard = Heard()
    broken = failure(target(behaviour), heard, timeout_s=1)

    assert heard.text.split() == [f"t{number}" for number in range(10)]
    assert broken.cause == cause
    assert not broken.can_fall_back
    assert broken.usage.is_estimated
    assert broken.usage.completion_tokens >= 10
    assert broken.usage.cost_usd == (broken.usage.prompt_tokens + broken.usage.completion_tokens) * PRICE


def test_an_answer_that_just_ends_was_cut_short(plain: TargetOf) -> None:
    broken = failure(plain("end-10"), Heard())

    assert (broken.cause, broken.can_fall_back) == (Cause.CUT_SHORT, False)


@pytest.mark.parametrize("behaviour", ["status-503", "garbage", "empty", "drop", "timeout", "trickle", "cut-0"])
def test_what_fails_before_the_first_piece_can_fall_back(target: TargetOf, behaviour: str) -> None:
    heard = Heard()
    failed = failure(target(behaviour), heard, timeout_s=1)

    assert failed.can_fall_back
    assert heard.pieces == []


def test_a_trickle_ends_at_the_deadline(target: TargetOf) -> None:
    started = time.monotonic()
    broken = failure(target("tokens-1000-at-2"), Heard(), timeout_s=5, deadline_s=1.5)

    assert (broken.cause, broken.can_fall_back) == (Cause.TIMEOUT, False)
    assert time.monotonic() - started < 5


def test_an_endless_answer_is_stopped(plain: TargetOf) -> None:
    failed = failure(plain("huge"), Heard())

    assert (failed.cause, failed.error_class) == (Cause.MALFORMED_ANSWER, "AnswerTooLarge")


@pytest.mark.parametrize("behaviour", ["tokens-1000-at-20", "hang-3"])
def test_a_client_that_leaves_stops_the_model(target: TargetOf, provider: FakeProvider, behaviour: str) -> None:
    name = str(target(behaviour).config["api_base"]).removeprefix(f"{provider.url}/").removesuffix("/v1")
    gone_before = provider.gone(name)
    heard = Heard()
    left = failure(target(behaviour), heard, leave_after=3)

    assert (left.cause, left.can_fall_back) == (Cause.CLIENT_GONE, False)
    assert left.usage.is_estimated
    assert left.usage.completion_tokens >= 3
    eventually(lambda: provider.gone(name) > gone_before, "the provider sees its client leave", within_s=2)


def test_a_client_that_left_before_an_attempt_asks_no_model(target: TargetOf) -> None:
    left = failure(target("ok"), Heard(), leave_after=0)

    assert left.cause == Cause.CLIENT_GONE


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_read_however_their_bytes_come(size: int) -> None:
    text = b": hello\r\ndata: one\r\n\r\nevent: x\ndata:two\ndata: three\n\n\n\ndata: \xe2\x82\xac\n\ndata: last"
    reader = EventReader()
    events = [event for start in range(0, len(text), size) for event in reader.feed(text[start : start + size])]

    assert [*events, *reader.end()] == [b"one", b"two\nthree", "€".encode(), b"last"]
