"""The answer's JSON: Decimal as a number, times in UTC with an offset."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from rest_framework import renderers
from rest_framework.utils import encoders


class JSONEncoder(encoders.JSONEncoder):
    """DRF's encoder, but money is a JSON number, as the guide prints it.

    This is the only place where a Decimal turns into a float, and only to be printed: `repr` gives the
    shortest digits that read back the same, so up to 15 significant digits arrive unchanged.
    """

    def default(self, obj: Any) -> Any:
        """Encode what `json` does not know."""
        if isinstance(obj, Decimal):
            return int(obj) if obj == obj.to_integral_value() and abs(obj) < 2**53 else float(obj)
        return super().default(obj)


class JSONRenderer(renderers.JSONRenderer):
    """JSON with the encoder above."""

    encoder_class = JSONEncoder
    charset = None


def rfc3339(moment: datetime) -> str:
    """A time as the API prints it: UTC, RFC 3339, microseconds."""
    return moment.isoformat().replace("+00:00", "Z")
