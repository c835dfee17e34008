"""CSV files that are longer than memory should hold."""

import csv
import io
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

from config.foundation.csv_cells import defused

#: Rows that are sent, and for which the thread is changed, at once.
ROWS_PER_CHUNK = 500


def csv_response(
    request: HttpRequest, name: str, header: Sequence[str], rows: Iterable[Sequence[object]]
) -> StreamingHttpResponse:
    """The rows as a download. Texts are defused, numbers left alone; `rows` are read as they are sent."""
    chunks = _chunks(header, iter(rows))
    # Under ASGI, Django would read an ordinary iterator to its end before it sends anything.
    content = _in_the_requests_thread(chunks) if isinstance(request, ASGIRequest) else chunks
    headers = {"Content-Disposition": f'attachment; filename="{name}-{timezone.now():%Y-%m-%d}.csv"'}
    return StreamingHttpResponse(content, content_type="text/csv; charset=utf-8", headers=headers)


def _chunks(header: Sequence[str], rows: Iterator[Sequence[object]]) -> Generator[bytes, None, None]:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(header)
    for count, row in enumerate(rows, start=1):
        writer.writerow([defused(cell) if isinstance(cell, str) else cell for cell in row])
        if count % ROWS_PER_CHUNK == 0:
            yield file.getvalue().encode()
            file.seek(0)
            file.truncate()
    if rest := file.getvalue():
        yield rest.encode()


async def _in_the_requests_thread(chunks: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    """Where the view ran, whose database connection the rows come from."""
    try:
        while chunk := await sync_to_async(_next)(chunks):
            yield chunk
    finally:
        await sync_to_async(chunks.close)()


def _next(chunks: Generator[bytes, None, None]) -> bytes:
    return next(chunks, b"")
