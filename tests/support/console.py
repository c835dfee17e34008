"""The console of a running stack, as somebody who is logged in sees it."""

import re
import uuid
from typing import Any

import httpx

from tests.support.stack import Stack

LOG_IN = """
from django.contrib.auth.models import User
from django.test import Client
user = User.objects.create_superuser("{name}")
client = Client()
client.force_login(user)
print("session:" + client.cookies["sessionid"].value)
"""


class LiveConsole:
    """A browser without scripts. How one logs in is not its affair."""

    def __init__(self, stack: Stack) -> None:
        said = stack.manage("shell", "-c", LOG_IN.format(name=f"live-{uuid.uuid4().hex[:8]}"))
        self._client = stack.client()
        self._client.cookies.set("sessionid", said.rpartition("session:")[2].strip())

    def get(self, path: str) -> httpx.Response:
        return self._client.get(path, follow_redirects=True)

    def post(self, path: str, **fields: Any) -> httpx.Response:
        """Send the form of a page, with the token that is in it."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(path).text)
        assert token is not None, path
        return self._client.post(path, data={"csrfmiddlewaretoken": token[1], **fields}, follow_redirects=True)
