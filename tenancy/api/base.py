"""The base of every API view."""

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.views import APIView


class ApiView(APIView):
    """Operators only (the project's default permission), unless a view says otherwise."""

    #: The operator scope that reading (GET) and writing (everything else) need.
    read_scope: ClassVar[str] = "read"
    write_scope: ClassVar[str] = "provision"
    #: The scopes of a team's key of which one is needed, where that is not `read` for reading and else `jobs`.
    key_scopes: ClassVar[tuple[str, ...] | None] = None
    #: Methods that open mode lets through without a key: those that the guide prints without a header.
    open_methods: ClassVar[frozenset[str]] = frozenset()

    def scope_of(self, request: Request) -> str:
        """The operator scope that this request needs."""
        return self.read_scope if _reads(request) else self.write_scope

    def key_scopes_of(self, request: Request) -> tuple[str, ...]:
        """Of these, a team's key that is restricted needs one."""
        return self.key_scopes or (("read",) if _reads(request) else ("jobs",))


def _reads(request: Request) -> bool:
    return request.method in ("GET", "HEAD", "OPTIONS")
