"""Our errors in the middle of a stream, where there is no status any more."""

from typing import Any

from config.foundation.api.openai_errors import openai_error
from config.foundation.errors import DomainError


def error_of(error: DomainError) -> dict[str, Any]:
    """As OpenAI's clients raise it."""
    return openai_error(str(error), error.code, cause=getattr(error, "cause", None))
