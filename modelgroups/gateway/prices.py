"""LiteLLM's price map, read as the file it is shipped as.

Importing litellm costs two seconds and 160 MB, which the web processes shall not pay for a look into a table.
"""

import importlib.util
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from modelgroups.gateway.parameters import own_price

PRICE_MAP_FILE = "model_prices_and_context_window_backup.json"


@lru_cache(maxsize=1)
def _priced_models() -> frozenset[str]:
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        raise RuntimeError("litellm is not installed")
    entries = json.loads((Path(spec.origin).parent / PRICE_MAP_FILE).read_bytes())
    return frozenset(name for name, entry in entries.items() if "input_cost_per_token" in entry)


def has_known_price(model_name: str, config: Mapping[str, Any]) -> bool:
    """Whether a call of this model can be costed: by the operator's price, or by LiteLLM's map."""
    if own_price(config) is not None:
        return True
    litellm_name = str(config.get("model", model_name))
    provider, _, bare = litellm_name.partition("/")
    # The map lists most providers' models with their prefix, OpenAI's and Anthropic's without.
    return litellm_name in _priced_models() or (provider in {"openai", "anthropic"} and bare in _priced_models())
