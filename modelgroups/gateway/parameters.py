"""A model's `config`: LiteLLM's own parameter names, from an allow-list (contract, "A model's config")."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from config.foundation.addresses import is_listed, leads_inside
from config.foundation.errors import InvalidInput

MAX_TEXT = 16_384
#: Names a ProviderCredential, whose key and place are the model's then.
CREDENTIAL = "credential"
CREDENTIAL_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and 0 < len(value) <= MAX_TEXT else "must be a non-empty text"


def _secret(value: Any) -> str | None:
    """It goes into a header, where a line's end pasted with it would break every call."""
    if _text(value) is not None:
        return "must be a non-empty text"
    return None if value.isascii() and value.isprintable() and " " not in value else "must be printable, without spaces"


def _name(value: Any) -> str | None:
    """A ProviderCredential's."""
    is_name = isinstance(value, str) and CREDENTIAL_NAME.fullmatch(value) is not None
    return None if is_name else "must be the name of a credential"


def _number(least: float, most: float) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if is_number and least <= value <= most else f"must be a number from {least:g} to {most:g}"

    return check


def _whole(least: int, most: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return None if is_whole and least <= value <= most else f"must be a whole number from {least} to {most}"

    return check


def _stop(value: Any) -> str | None:
    texts = value if isinstance(value, list) else [value]
    is_valid = 0 < len(texts) <= 4 and all(_text(text) is None for text in texts)
    return None if is_valid else "must be a text or a list of up to four"


def _headers(value: Any) -> str | None:
    if not isinstance(value, dict) or len(value) > 32:
        return "must be an object of at most 32 headers"
    for name, text in value.items():
        if not (isinstance(text, str) and name.isascii() and (name + text).isprintable()):
            return "must map header names to printable texts"
    return None


def _api_base(value: Any) -> str | None:
    if _text(value) is not None:
        return "must be a URL"
    try:
        url = urlsplit(value)
        host = url.hostname
    except ValueError:
        return "must be a URL"
    if url.scheme not in {"http", "https"} or not host or url.username or url.password:
        return "must be an http or https URL without credentials"
    if settings.AUTH_MODE == "open" or not leads_inside(host) or is_listed(host, settings.PRIVATE_API_BASES):
        return None
    return "may not name a loopback or private address"


#: Parameter → what is wrong with a value (None: nothing).
ALLOWED: Mapping[str, Callable[[Any], str | None]] = {
    "model": _text,
    "api_base": _api_base,
    "api_key": _secret,
    CREDENTIAL: _name,
    "api_version": _text,
    "mock_response": _text,
    "timeout": _number(0.1, 600),
    "weight": _number(0.001, 1000),
    "input_cost_per_token": _number(0, 1),
    "output_cost_per_token": _number(0, 1),
    "extra_headers": _headers,
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "max_tokens": _whole(1, 10_000_000),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "seed": _whole(-(2**63), 2**63 - 1),
    "stop": _stop,
}

#: Those of them that are defaults of the request, which a call's own parameters override.
SAMPLING = frozenset({"temperature", "top_p", "max_tokens", "presence_penalty", "frequency_penalty", "seed", "stop"})


def check_config(config: Mapping[str, Any], *, field: str) -> None:
    """Raises InvalidInput that names the first parameter that is not allowed, or whose value is not."""
    for name, value in config.items():
        if name not in ALLOWED:
            raise InvalidInput(f"unknown parameter '{name}'", field=f"{field}.{name}", error_code="unknown_parameter")
        problem = ALLOWED[name](value)
        if problem is not None:
            raise InvalidInput(problem, field=f"{field}.{name}")
    if ("input_cost_per_token" in config) != ("output_cost_per_token" in config):
        raise InvalidInput("input_cost_per_token and output_cost_per_token go together", field=field)
    for name in ("api_key", "api_base"):
        if CREDENTIAL in config and name in config:
            raise InvalidInput(f"a model with a credential has no {name} of its own", field=f"{field}.{name}")


def problem_with(name: str, value: Any) -> str | None:
    """What is wrong with the value of one parameter, None where nothing is."""
    return ALLOWED[name](value)


def litellm_name(model_name: str, config: Mapping[str, Any]) -> str:
    """The name by which LiteLLM knows the model, such as "azure/gpt-4-eu"."""
    return str(config.get("model", model_name))


def own_price(config: Mapping[str, Any]) -> tuple[Decimal, Decimal] | None:
    """The operator's price per input and output token in USD, None where there is none."""
    if "input_cost_per_token" not in config:
        return None
    # str() first: the shortest digits that a JSON number was written with, not its binary expansion.
    return Decimal(str(config["input_cost_per_token"])), Decimal(str(config["output_cost_per_token"]))
