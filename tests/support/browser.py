"""A real browser on the console of a running stack: the machine's Chromium, driven by Playwright.

Playwright's synchronous API keeps an event loop in the thread, where Django's ORM then refuses to work: tests that use
it look at the database by `stack.query`.
"""

import base64
import hashlib
import hmac
import os
import shutil
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Request, Response, WebError, sync_playwright

#: As Debian, Ubuntu and others call it.
NAMES = ("chromium", "chromium-browser", "google-chrome")
#: For a machine that has much else to do. Nothing waits so long that is there.
PATIENCE_MS = 30_000
#: What needs no server.
LOCAL = ("data", "blob")


def find_chromium() -> str | None:
    """Where it is. Playwright's own browsers are not used: nothing is downloaded."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Without a window."""
    # Its sandbox refuses root, as whom containers run.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=flags)
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """Notes what no page of the console may do, in all of a context's pages."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.problems: list[str] = []
        self.pages: set[str] = set()
        self._host = urlsplit(origin).netloc
        context.on("request", self._on_request)
        context.on("response", self._on_response)
        context.on("console", self._on_message)
        context.on("weberror", self._on_error)

    def _on_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in LOCAL and address.netloc != self._host:
            self.problems.append(f"asked another server: {request.url}")

    def _on_response(self, response: Response) -> None:
        if response.request.resource_type == "document":
            self.pages.add(urlsplit(response.url).path)
        if response.status >= 400:
            self.problems.append(f"{response.status} for {response.request.method} {response.url}")

    def _on_message(self, message: ConsoleMessage) -> None:
        """Violations of the policy (CSP) are among them."""
        if message.type in ("error", "warning"):
            self.problems.append(f"console, {message.type}: {message.text} ({message.location.get('url')})")

    def _on_error(self, error: WebError) -> None:
        self.problems.append(f"script: {error.error}")


def totp(secret: str, *, steps: int = 0) -> str:
    """The code that an authenticator app shows (RFC 6238), now or some steps of 30 s later."""
    key = base64.b32decode(secret.replace(" ", "").upper() + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30 + steps), hashlib.sha1).digest()
    start = digest[-1] & 15
    number: int = struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"
