"""The only place that knows LiteLLM.

`parameters` (what a model's config may say) and `prices` (LiteLLM's price map, read as a file) are cheap and
serve every process. `sdk` imports litellm itself (seconds and 160 MB), lazily: only workers may reach for it.
"""
