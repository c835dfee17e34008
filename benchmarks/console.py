"""`make bench ARGS="--console"`: how long the server takes over each page of the console, and with how many queries.

    make bench ARGS="--console"                     1,000,000 jobs; some 15 minutes, 5 GB of disk while it runs
    make bench ARGS="--console --console-share 0.01"    a first look, half a minute

It fills a PostgreSQL of its own (benchmarks/seed_console.py), sums up its days, and asks for the dashboard and for
every list: its first page and its last one, three searches, each choice of each filter, and a team's rows. Pages are
made in this process, by Django's test client, so the times are those of the server alone: median of three, after a
first look, by the clock and of the CPU (Linux only: from /proc).
"""

import os
import re
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from benchmarks.seed_console import Size, seed
from scripts.embedded import embedded_postgres

LOOKS = 3
MOST_MS, MOST_QUERIES = 300, 15


@dataclass(frozen=True)
class Page:
    """What was asked for, and what it took."""

    name: str
    what: str
    ms: float
    #: Of the server's process and its PostgreSQL: what is left of the time on a machine with nothing else to do.
    cpu_ms: float
    queries: int

    @property
    def is_too_much(self) -> bool:
        """Slower, or with more queries, than a page of the console may be."""
        return self.cpu_ms > MOST_MS or self.queries > MOST_QUERIES


def carry_out(folder: Path, results: Path, *, share: float, say: Callable[[str], None]) -> Path:
    """Everything, on a database that is gone afterwards; returns the table."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with embedded_postgres(folder / "postgres", durable=False) as url:
            _set_up(url)
            from django.core.management import call_command
            from django.db import connection

            call_command("migrate", verbosity=0)
            size = Size().scaled(share)
            seed(size, say)
            began = time.monotonic()
            call_command("rebuild_rollups")
            say(f"- rollups of all days: {time.monotonic() - began:.1f} s")
            say(f"- rollups, a round of the beat: {_a_round_s():.2f} s")
            pages = list(_pages())
            connection.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _write(results, size, pages, say)


def _set_up(url: str) -> None:
    import django

    os.environ.update(
        DATABASE_URL=url,
        REDIS_URL="redis://127.0.0.1:1/0",
        DJANGO_SETTINGS_MODULE="config.settings",
        DJANGO_SECRET_KEY="only-for-this-benchmark-0123456789-abcdefghijklmnopqrstuvwxyz",
        FIELD_ENCRYPTION_KEYS="b25seS1mb3ItdGhlLWNoZWNrcy1vZi1tYWtlLWxpbnQ=",
        DJANGO_ALLOWED_HOSTS="testserver",
        DJANGO_SSL_REDIRECT="0",
    )
    os.environ.pop("DJANGO_DEBUG", None)
    django.setup()


def _a_round_s() -> float:
    from jobs.services.rollups import refresh_rollups

    # Until the days before today are closed, as they are on any other day.
    while refresh_rollups() > 1:
        pass
    began = time.monotonic()
    refresh_rollups()
    return time.monotonic() - began


def _pages() -> Iterator[Page]:
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
    from django.apps import apps
    from django.contrib.auth.models import User
    from django.test import Client
    from django.test.utils import setup_test_environment

    # Responses then tell of the list that they were made from.
    setup_test_environment()
    client = Client()
    user = User.objects.create_superuser("bench")
    TOTP.activate(user, generate_totp_secret())
    client.force_login(user)
    for query in ("", "?range=today", "?range=90", "?range=90&organization=org-7", "?range=90&team=team-3"):
        yield _measured(client, "dashboard", query or "30 days", f"/admin/{query}")
    for app in ("tenancy", "modelgroups", "billing", "jobs"):
        for model in apps.get_app_config(app).get_models():
            url = f"/admin/{app}/{model.__name__.lower()}/"
            for what, query in _asked(client, url):
                yield _measured(client, f"{app}.{model.__name__}", what, url + query)


def _asked(client: Any, url: str) -> Iterator[tuple[str, str]]:
    """The queries of one list."""
    changelist = client.get(url).context["cl"]
    yield "first page", ""
    if changelist.multi_page:
        yield "last page", f"?p={changelist.paginator.num_pages}"
    if changelist.search_fields:
        ids = [str(row.pk) for row in changelist.result_list[:1]]
        for what, term in (("a team", "team-250"), ("nothing", "nothing-like-this"), *(("an id", pk) for pk in ids)):
            yield f"search for {what}", f"?q={term}"
    for spec in changelist.filter_specs:
        yield from _choices(spec, changelist)
    for column in ("team", "account"):
        if any(field.name == column and not field.primary_key for field in changelist.opts.fields):
            for pk in (2, 499):
                yield f"rows of team {pk}", f"?{column}__exact={pk}"


def _choices(spec: Any, changelist: Any) -> Iterator[tuple[str, str]]:
    """Of one filter."""
    for choice in spec.choices(changelist):
        if query := dict(parse_qsl(choice.get("query_string", "?")[1:])):
            values = ", ".join(value[:19] for value in query.values())
            yield f"{spec.title}: {values}", choice["query_string"]
    name = spec.expected_parameters()[0]
    if name.endswith("_from"):
        yield f"{spec.title}: a range of days", f"?{name}=2020-01-01&{name.removesuffix('from')}to=2099-01-01"


def _measured(client: Any, name: str, what: str, url: str) -> Page:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        response = client.get(url)
    queries = len(captured)  # Now: each further request empties the log.
    if response.status_code != 200:
        raise RuntimeError(f"{url}: {response.status_code}")
    with connection.cursor() as cursor:
        cursor.execute("SET max_parallel_workers_per_gather = 0")  # Their time would be in no figure.
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
    looks = []
    for _ in range(LOOKS):
        began, cpu_began = time.perf_counter(), _cpu_ms(backend)
        client.get(url)
        looks.append((time.perf_counter() * 1000 - began * 1000, _cpu_ms(backend) - cpu_began))
    ms, cpu_ms = (statistics.median(figures) for figures in zip(*looks, strict=True))
    return Page(name, what, ms, cpu_ms, queries)


def _cpu_ms(backend: int) -> float:
    """Of this process and of PostgreSQL's that answers it, so far."""
    nanoseconds = int(Path(f"/proc/{backend}/schedstat").read_text().split()[0])
    return time.process_time() * 1000 + nanoseconds / 1e6


def _write(results: Path, size: Size, pages: list[Page], say: Callable[[str], None]) -> Path:
    from benchmarks.report import now, table

    rows = [[page.name, page.what, f"{page.ms:.0f}", f"{page.cpu_ms:.0f}", str(page.queries)] for page in pages]
    over = [page for page in pages if page.is_too_much]
    worst = max(pages, key=lambda page: page.cpu_ms)
    median_ms = statistics.median(page.ms for page in pages)
    median_cpu_ms = statistics.median(page.cpu_ms for page in pages)
    summary = (
        f"{len(pages)} pages over {size.jobs:,} jobs, {size.jobs * size.calls_per_job:,} calls and {size.entries:,} "
        f"ledger entries: {len(over)} took more than {MOST_MS} ms of CPU time or {MOST_QUERIES} queries. "
        f"The slowest, {worst.name} ({worst.what}), took {worst.cpu_ms:.0f} ms; the median is {median_cpu_ms:.0f} ms "
        f"({median_ms:.0f} ms by the clock), the most queries are {max(page.queries for page in pages)}."
    )
    results.mkdir(exist_ok=True)
    path = results / f"console-{re.sub('[^0-9]', '', str(now()))[:12]}.md"
    path.write_text(
        f"# The console's pages\n\n{summary}\n\n{table(['page', 'what', 'ms', 'CPU ms', 'queries'], rows)}\n"
    )
    for page in over:
        say(f"! {page.name}, {page.what}: {page.cpu_ms:.0f} CPU ms, {page.ms:.0f} ms, {page.queries} queries")
    say(summary)
    return path
