"""What LiteLLM Proxy should look like, how it differs, and bringing it there. No transactions: the services' are."""
