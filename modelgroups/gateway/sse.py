"""Reading server-sent events from bytes as they come (WHATWG HTML, "Parsing an event stream"): their data only."""

from collections.abc import Iterator


class EventReader:
    """Give it bytes, get the data of the events that are complete. What it keeps is one event at most."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[bytes] = []

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The data of each event that `received` completes."""
        self._rest += received
        if b"\n" not in received:
            # Else a line of megabytes would be searched anew with every piece of it.
            return
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        for line in lines:
            text = line.removesuffix(b"\r")
            if text.startswith(b"data:"):
                self._data.append(text[5:].removeprefix(b" "))
            elif not text and self._data:
                data, self._data = b"\n".join(self._data), []
                yield data

    def end(self) -> Iterator[bytes]:
        """What the stream's end completes: strictly nothing, but providers forget the last empty line."""
        yield from self.feed(b"\n\n")
