"""JSON as the API accepts it (contract, "Sizes").

Python's own parser lets through what PostgreSQL's jsonb refuses (NUL, lone surrogates, NaN, infinities) and
recurses on deep nesting. Refusing it here, with a reason, is what keeps such input from becoming a 500.
"""

import json
import math
from typing import Any

from config.foundation.errors import InvalidInput

MAX_DEPTH = 32


def parse(raw: bytes) -> Any:
    """Parse a JSON body. Raises InvalidInput naming what is wrong with it."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite_float)
    except UnicodeDecodeError as error:
        raise InvalidInput("Invalid JSON: the body is not valid UTF-8") from error
    except RecursionError as error:
        raise InvalidInput(f"Invalid JSON: nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise InvalidInput(f"Invalid JSON: {_reason(error)}") from error
    _check(value, has_escapes=b"\\u" in raw)
    return value


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if "integer string conversion" in str(error):
        return "a number has too many digits"
    return str(error)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _check(value: Any, *, has_escapes: bool) -> None:
    """Walk the value without recursion: depth, and the characters that only escapes can smuggle in."""
    pending = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if isinstance(item, str):
            if has_escapes:
                check_text(item)
        elif isinstance(item, dict | list):
            if depth > MAX_DEPTH:
                raise InvalidInput(f"Invalid JSON: nested deeper than {MAX_DEPTH} levels")
            if isinstance(item, dict):
                pending.extend((key, depth) for key in item)
                pending.extend((child, depth + 1) for child in item.values())
            else:
                pending.extend((child, depth + 1) for child in item)


def check_text(text: str) -> None:
    """Refuse what no PostgreSQL text can hold. Raises InvalidInput."""
    if "\x00" in text:
        raise InvalidInput("Invalid JSON: text must not contain the NUL character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput("Invalid JSON: text must not contain lone surrogates") from error
