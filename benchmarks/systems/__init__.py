"""The systems that are measured: this service, its peers, and the provider by itself."""
