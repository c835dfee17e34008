"""The only place that knows LiteLLM.

`parameters` (what a model's config may say) and `prices` (LiteLLM's price map, read as a file) are cheap and
serve every process. `chat` asks a model; it imports litellm (seconds and 160 MB), so only workers may reach for it.
"""
