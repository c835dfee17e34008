"""What a request may take is estimated high, and never by trusting it."""

from decimal import Decimal
from typing import Any

import pytest

from modelgroups.gateway.ceilings import MAX_LOOKS, MOST_TOKENS, Ceiling, ceiling
from modelgroups.gateway.endpoints import COMPLETIONS, EMBEDDINGS
from modelgroups.gateway.passed_on import to_provider, to_proxy, to_sdk
from modelgroups.gateway.prices import most_per_token


def test_a_text_takes_a_token_per_three_bytes_and_some_more() -> None:
    assert ceiling("x" * 300, {}).input == 104
    assert ceiling([{"role": "user", "content": "äöü" * 100}], {}).input >= 200


def test_an_attachment_takes_a_flat_number_however_large_it_is() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    assert ceiling([{"role": "user", "content": [image]}], {}).input < 2000


@pytest.mark.parametrize("name", ["tools", "prompt", "input", "instructions", "text", "brand_new"])
def test_whatever_may_be_read_is_counted(name: str) -> None:
    long = "y" * 3000
    values: list[Any] = [long, [long], [{"description": long}], {"properties": {long: {}}}, [1] * 1500]
    for value in values:
        assert ceiling([], {name: value}).input > 1000, value


def test_more_values_than_anybody_looks_at_are_counted_by_their_size() -> None:
    assert ceiling([], {"input": [["a"]] * MAX_LOOKS}).input > 4 * MAX_LOOKS


def test_an_attachment_is_one_only_where_it_is_attached() -> None:
    image = {"type": "image_url", "image_url": "y" * 9000}
    assert ceiling([], {"tools": [image]}).input > 3000
    assert ceiling([{"role": "user", "content": [{**image, "text": "y" * 9000}]}], {}).input > 3000
    assert ceiling([], {"input": [{"role": "user", "content": [{**image, "type": "input_image"}]}]}).input < 2000


def test_a_file_may_be_nothing_but_text() -> None:
    for payload, tokens in (("y" * 9000, 3000), ("y", 1500)):
        part = {"type": "file", "file": {"file_data": payload}}
        assert tokens < ceiling([{"role": "user", "content": [part]}], {}).input < tokens + 100


@pytest.mark.parametrize("kind", [["string", "null"], {"type": "string"}, None, 1])
def test_a_type_is_not_always_a_text(kind: Any) -> None:
    schema = {"type": "object", "properties": {"type": kind, "name": {"type": kind}}}
    assert ceiling([{"role": "user", "content": [{"type": kind}]}], {"tools": [schema]}).input > 0


@pytest.mark.parametrize(
    ("parameters", "output", "answers"),
    [
        ({}, None, 1),
        ({"max_tokens": 5}, 5, 1),
        ({"max_completion_tokens": 6}, 6, 1),
        ({"max_output_tokens": 7}, 7, 1),
        ({"max_completion_tokens": 1, "max_tokens": 5}, 5, 1),
        ({"max_tokens": 5, "n": 3}, 5, 3),
        ({"n": 2, "best_of": 3}, None, 3),
        ({"max_tokens": 10**30, "n": 10**30}, MOST_TOKENS, MOST_TOKENS),
        ({"max_tokens": "5", "n": 2.0}, 5, 2),
        ({"max_tokens": 5.5}, 6, 1),
        ({"max_tokens": 1e30}, MOST_TOKENS, 1),
        ({"max_tokens": "9" * 5000}, None, 1),
        ({"max_tokens": "0"}, None, 1),
        ({"max_tokens": True}, None, 1),
        ({"max_tokens": -5}, None, 1),
        ({"max_tokens": None, "n": "x"}, None, 1),
    ],
)
def test_an_answer_is_as_long_as_the_request_allows(
    parameters: dict[str, Any], output: int | None, answers: int
) -> None:
    estimated = ceiling("", parameters)
    assert (estimated.output, estimated.answers) == (output, answers)


@pytest.mark.parametrize("parameters", [{}, {"max_tokens": 50, "n": 3, "best_of": 4}])
def test_embeddings_are_no_answer(parameters: dict[str, Any]) -> None:
    """Whatever is said of its length."""
    estimated = ceiling([], {"input": ["x" * 300, "y"], **parameters}, EMBEDDINGS)
    assert estimated == Ceiling(input=estimated.input, output=0, answers=1)
    assert estimated.input > 100


@pytest.mark.parametrize(
    ("prompt", "answers"),
    [("x", 2), (["x", "y", "z"], 6), ([[1, 2], [3]], 4), ([1, 2, 3], 2), ([], 2), ({"a": 1}, 2)],
)
def test_each_of_several_prompts_has_answers(prompt: Any, answers: int) -> None:
    assert ceiling([], {"prompt": prompt, "n": 2}, COMPLETIONS).answers == answers
    assert ceiling([], {"prompt": prompt, "n": 2}).answers == 2


def test_nesting_is_no_trouble() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    assert ceiling(deep, {}).input >= 0


def test_the_highest_tier_s_price_counts() -> None:
    price = most_per_token("gpt-4")
    assert price is not None
    assert price[1] >= price[0] > 0
    assert most_per_token("no-such-model") is None


def test_the_tier_with_priority_does_not_count() -> None:
    assert most_per_token("gpt-4.1-mini") == (Decimal("0.0000004"), Decimal("0.0000016"))


def test_nothing_that_configures_litellm_is_passed_on_to_it() -> None:
    sly = {
        "api_base": "http://169.254.169.254/", "api_key": "sk", "mock_response": "free", "fallbacks": ["gpt-4"],
        "model_list": [], "extra_headers": {"a": "b"}, "aws_access_key_id": "x", "_skip_mcp_handler": False,
        "extra_body": {"model": "other"}, "custom_llm_provider": "x", "metadata": {"tags": []}, "user_config": {},
        "models": ["other"], "route": "fallback", "provider": {}, "plugins": [{"id": "web"}],
    }  # fmt: skip
    fine = {"temperature": 0.5, "user": "u"}

    assert to_provider({**sly, **fine, "brand_new": 1}) == {**fine, "metadata": {"tags": []}, "brand_new": 1}
    assert to_sdk({**sly, **fine, "brand_new": 1}) == {**fine, "extra_body": {"brand_new": 1}}
    assert to_proxy({**sly, **fine, "brand_new": 1}) == {**fine, "brand_new": 1}


def test_a_provider_that_is_asked_directly_is_told_everything_but_what_is_ours_to_say() -> None:
    assert to_provider({"model": "x", "stream": True, "messages": [], "brand_new": 1}) == {"brand_new": 1}
