"""What a provider reports is stored as far as it can be: it may be anything."""

from typing import Any

import pytest

from modelgroups.gateway.types import MOST_TOKENS, short_text, token_count


@pytest.mark.parametrize(
    ("reported", "stored"),
    [("stop", "stop"), ("a\x00b", "ab"), ("\ud83d", "?"), ("x" * 100, "x" * 64), (None, None), (7, None), ({}, None)],
)
def test_a_short_text(reported: Any, stored: str | None) -> None:
    assert short_text(reported) == stored


@pytest.mark.parametrize(
    ("reported", "stored"), [(7, 7), (-1, 0), (2**53, MOST_TOKENS), ("7", 0), (None, 0), (1.5, 0), (True, 1)]
)
def test_a_number_of_tokens(reported: Any, stored: int) -> None:
    assert token_count(reported) == stored
