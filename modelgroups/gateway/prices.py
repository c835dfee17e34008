"""LiteLLM's price map, read as the file it is shipped as.

Importing litellm costs two seconds and 160 MB, which the web processes shall not pay for a look into a table, and
its cost calculator costs a worker more than a multiplication does.
"""

import importlib.util
import json
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from modelgroups.gateway.parameters import litellm_name, own_price

PRICE_MAP_FILE = "model_prices_and_context_window_backup.json"
#: With one of these in its entry, a model's price depends on more than the number of tokens.
_TIERS = ("_above_", "per_character", "per_second", "per_image", "reasoning", "audio")


@lru_cache(maxsize=1)
def _price_map() -> Mapping[str, Mapping[str, Any]]:
    """Prices as Decimal, exactly as the file has them."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        raise RuntimeError("litellm is not installed")
    entries = json.loads((Path(spec.origin).parent / PRICE_MAP_FILE).read_bytes(), parse_float=Decimal)
    return {name: entry for name, entry in entries.items() if "input_cost_per_token" in entry}


def _entry(litellm_model: str) -> Mapping[str, Any] | None:
    provider, _, bare = litellm_model.partition("/")
    # The map lists most providers' models with their prefix, OpenAI's and Anthropic's without.
    fallback = _price_map().get(bare) if provider in {"openai", "anthropic"} else None
    return _price_map().get(litellm_model, fallback)


def provider_of(model_name: str, config: Mapping[str, Any]) -> str | None:
    """LiteLLM's name of the provider that a model is asked at; None where only LiteLLM itself would know."""
    name = litellm_name(model_name, config)
    provider, slash, _ = name.partition("/")
    if slash:
        return provider
    entry = _price_map().get(name)
    return None if entry is None else entry.get("litellm_provider")


def usd_per_million(model_name: str, config: Mapping[str, Any]) -> tuple[Decimal, Decimal] | None:
    """The price of a million input and output tokens in USD; None where nobody knows it."""
    price = own_price(config)
    if price is None:
        entry = _entry(litellm_name(model_name, config))
        if entry is None:
            return None
        price = Decimal(entry["input_cost_per_token"]), Decimal(entry.get("output_cost_per_token", 0))
    return price[0] * 1_000_000, price[1] * 1_000_000


def has_known_price(model_name: str, config: Mapping[str, Any]) -> bool:
    """Whether a call of this model can be costed: by the operator's price, or by LiteLLM's map."""
    return own_price(config) is not None or _entry(litellm_name(model_name, config)) is not None


def most_per_token(litellm_model: str) -> tuple[Decimal, Decimal] | None:
    """The most that an input and an output token of a model may cost, in USD: LiteLLM's highest tier.

    But for the one with priority, which nobody can ask for. None where the map does not know the model.
    """
    entry = _entry(litellm_model)
    if entry is None:
        return None
    return _most(entry, "input_cost_per_token"), _most(entry, "output_cost_per_token")


def _most(entry: Mapping[str, Any], name: str) -> Decimal:
    names = (key for key in entry if key.startswith(name) and not key.endswith("_priority"))
    return max((Decimal(entry[key]) for key in names if isinstance(entry[key], int | Decimal)), default=Decimal(0))


def has_flat_price(model_name: str, config: Mapping[str, Any]) -> bool:
    """Whether `cost_usd` can cost it: so much per token, cached or not, and nothing else."""
    if own_price(config) is not None:
        return True
    entry = _entry(litellm_name(model_name, config))
    return entry is not None and not any(tier in key for key in entry for tier in _TIERS if "cost" in key)


def cost_usd(
    model_name: str,
    config: Mapping[str, Any],
    *,
    prompt_tokens: int,
    completion_tokens: int,
    cached_tokens: int = 0,
) -> Decimal | None:
    """What an answer of a flat-priced model cost, exactly; None where the map does not know the model.

    `cached_tokens` are part of `prompt_tokens`, at a price of their own where the map has one.
    """
    price = own_price(config)
    if price is not None:
        return prompt_tokens * price[0] + completion_tokens * price[1]
    entry = _entry(litellm_name(model_name, config))
    if entry is None:
        return None
    per_input = Decimal(entry["input_cost_per_token"])
    per_cached = Decimal(entry.get("cache_read_input_token_cost", per_input))
    per_output = Decimal(entry.get("output_cost_per_token", 0))
    uncached_tokens = prompt_tokens - cached_tokens
    return uncached_tokens * per_input + cached_tokens * per_cached + completion_tokens * per_output
