"""The base of every API view."""

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.views import APIView


class ApiView(APIView):
    """Operators only (the project's default permission), unless a view says otherwise."""

    #: The operator scope that reading (GET) and writing (everything else) need.
    read_scope: ClassVar[str] = "read"
    write_scope: ClassVar[str] = "provision"
    #: Methods that open mode lets through without a key: those that the guide prints without a header.
    open_methods: ClassVar[frozenset[str]] = frozenset()

    def scope_of(self, request: Request) -> str:
        """The operator scope that this request needs."""
        return self.read_scope if request.method in ("GET", "HEAD", "OPTIONS") else self.write_scope
