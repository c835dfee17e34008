"""What the log-in's templates need to look like the console."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse


def look_of_the_console(request: HttpRequest) -> dict[str, Any]:
    """The admin's own context, on the pages below /accounts/, which are not the admin's."""
    if not request.path.startswith(reverse("account_login").removesuffix("login/")):
        return {}
    return admin.site.each_context(request)
