"""What an OpenAI client may say to LiteLLM's SDK or proxy.

Both take their own settings by the same door as a request's parameters: an address to call, a key, a mocked answer. So
may a provider that is asked directly, behind whose address another LiteLLM may be.
"""

from collections.abc import Mapping
from typing import Any

#: OpenAI's parameters of all endpoints. Whatever else a client writes is for the request's body alone.
KNOWN = frozenset(
    {
        "audio", "best_of", "dimensions", "echo", "encoding_format", "frequency_penalty", "function_call", "functions",
        "include", "input", "instructions", "logit_bias", "logprobs", "max_completion_tokens", "max_output_tokens",
        "max_tokens", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty",
        "previous_response_id", "prompt", "prompt_cache_key", "reasoning", "reasoning_effort", "response_format",
        "safety_identifier", "seed", "service_tier", "stop", "store", "suffix", "temperature", "text", "thinking",
        "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user", "verbosity", "web_search_options",
    }
)  # fmt: skip
#: LiteLLM's own, at its proxy, and in `extra_body` of some of its providers; and what makes OpenRouter ask another
#: model than the one that was priced, or add to it.
LITELLM_S = frozenset(
    {
        "api_base", "api_key", "api_version", "azure_ad_token", "base_url", "cache", "caching", "client",
        "cooldown_time",
        "context_window_fallbacks", "content_policy_fallbacks", "custom_llm_provider", "deployment_id",
        "disable_fallbacks", "extra_body", "extra_headers", "fallbacks", "guardrails", "headers",
        "input_cost_per_token",
        "litellm_metadata", "litellm_params", "max_retries", "metadata", "mock_response", "mock_testing_fallbacks",
        "mock_timeout", "mock_tool_calls", "model_config", "model_info", "model_list", "models", "num_retries",
        "organization", "output_cost_per_token", "plugins", "provider", "proxy_server_request",
        "request_timeout", "route", "router_settings", "tags", "timeout",
        "user_config", "vertex_credentials", "vertex_project", "vertex_location", "region_name",
    }
)  # fmt: skip
#: What is ours to say.
OURS = frozenset({"model", "messages", "stream", "stream_options"})


def to_provider(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """For one that is asked directly. OpenAI itself has a parameter by one of the names: `metadata`."""
    return {
        name: value
        for name, value in parameters.items()
        if name not in OURS and (name == "metadata" or not _is_litellm_s(name))
    }


def to_proxy(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """For LiteLLM Proxy."""
    return {name: value for name, value in to_provider(parameters).items() if not _is_litellm_s(name)}


def to_sdk(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """For LiteLLM's SDK, as its keyword arguments."""
    passed = to_provider(parameters)
    known = {name: value for name, value in passed.items() if name in KNOWN and value is not None}
    extra = {name: value for name, value in passed.items() if name not in KNOWN and not _is_litellm_s(name)}
    return {**known, "extra_body": extra} if extra else known


def _is_litellm_s(name: str) -> bool:
    return name in LITELLM_S or name.startswith(("aws_", "mock_", "vertex_", "litellm_", "_"))
