"""Why LiteLLM Proxy's admin API did not do what it was asked to. Neither text ever has a key in it."""


class ProxyError(Exception):
    """The base of both."""


class ProxyUnavailable(ProxyError):
    """It could not be asked, or did not answer sensibly: the same request may succeed later."""


class ProxyRefused(ProxyError):
    """It said no, and will say so again until something changes; a wrong master key is one reason."""

    def __init__(self, path: str, *, status: int, error_type: str, text: str) -> None:
        super().__init__(f"{path}: {status} {error_type}: {text}")
        self.status = status
        self.error_type = error_type
