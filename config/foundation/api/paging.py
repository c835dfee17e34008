"""`limit` and `offset`, checked, and the `Link` header of a page (contract, "Paging, ids, times")."""

from dataclasses import dataclass

from django.http import HttpRequest
from rest_framework.request import Request

from config.foundation.errors import InvalidInput

MAX_LIMIT = 1000
#: PostgreSQL's bigint; beyond it an offset is a typing mistake, not a page.
MAX_OFFSET = 2**63 - 1


@dataclass(frozen=True)
class Page:
    """A window on an ordered set."""

    limit: int
    offset: int

    def links(self, request: Request | HttpRequest, total: int) -> dict[str, str]:
        """The answer's headers: RFC 8288 links to the first, previous, next and last page that exist."""
        last = max(0, (total - 1) // self.limit * self.limit)
        targets = {"first": 0, "last": last}
        if self.offset > 0:
            # From beyond the end back to the last page, not to another empty one.
            targets["prev"] = max(0, min(self.offset - self.limit, last))
        if self.offset + self.limit < total:
            targets["next"] = self.offset + self.limit
        return {"Link": ", ".join(f'<{self._url(request, at)}>; rel="{rel}"' for rel, at in targets.items())}

    def _url(self, request: Request | HttpRequest, offset: int) -> str:
        query = request.GET.copy()
        query["limit"], query["offset"] = str(self.limit), str(offset)
        return request.build_absolute_uri(f"{request.path}?{query.urlencode()}")


def read_page(request: Request, *, default_limit: int) -> Page:
    """The page that the query string asks for. Raises InvalidInput."""
    return Page(
        limit=_whole_number(request, "limit", default=default_limit, least=1, most=MAX_LIMIT),
        offset=_whole_number(request, "offset", default=0, least=0, most=MAX_OFFSET),
    )


def _whole_number(request: Request, name: str, *, default: int, least: int, most: int) -> int:
    text = request.GET.get(name)
    if text is None:
        return default
    # isascii: str.isdigit() alone is true for digits of every script, and int() for some of them.
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most):
        raise InvalidInput(f"must be a whole number from {least} to {most}", field=name)
    return int(text)
