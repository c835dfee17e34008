"""Tags of the console's templates."""

from typing import Any

from django import template

from config.console.hints import HINTS

register = template.Library()


@register.filter
def hint(options: Any) -> str:
    """What an empty list of this model says (by its `_meta`)."""
    return HINTS.get(options.label_lower, "")
