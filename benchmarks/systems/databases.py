"""A PostgreSQL for each system that wants one, which counts the statements it is asked for."""

from dataclasses import dataclass

import psycopg

from benchmarks.procfs import parent
from benchmarks.systems.base import Bench
from scripts.embedded import embedded_postgres
from tests.support.stack import fresh_database

#: How PostgreSQL looks for a foreign key's other end by itself. All else is a round trip, BEGIN and COMMIT, too.
FOREIGN_KEY_CHECK = "SELECT % FROM ONLY %FOR KEY SHARE OF x"
COUNT = """
    SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
    WHERE d.datname = %s AND s.query NOT LIKE %s
"""

BY_STATEMENT = """
    SELECT left(regexp_replace(s.query, '\\s+', ' ', 'g'), 160) AS text, sum(s.calls), sum(s.total_exec_time)
    FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = %s GROUP BY 1
"""


@dataclass(frozen=True)
class Statement:
    """How often it was asked for, and how long it took in all, waiting for locks and disks included."""

    text: str
    calls: int
    total_ms: float


@dataclass
class Database:
    """An empty database on a server of its own, durable as in production."""

    url: str
    #: The server's first process.
    pid: int
    _server: psycopg.Connection
    _name: str

    @classmethod
    def start(cls, bench: Bench, name: str) -> "Database":
        """It ends with the bench."""
        folder = bench.folder / f"postgres-{name}"
        with embedded_postgres(folder) as url, psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
        # That takes a new start.
        server_url = bench.exits.enter_context(embedded_postgres(folder))
        server = bench.exits.enter_context(psycopg.connect(server_url, autocommit=True))
        server.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        server.execute("SELECT pg_stat_statements_reset()")
        url = bench.exits.enter_context(fresh_database(server_url))
        return cls(url, parent(server.info.backend_pid), server, url.rpartition("/")[2])

    def statements(self) -> int:
        """So far, on this database."""
        row = self._server.execute(COUNT, [self._name, FOREIGN_KEY_CHECK]).fetchone()
        return int(row[0]) if row else 0

    def by_statement(self) -> dict[str, Statement]:
        """So far, by the statement's text."""
        rows = self._server.execute(BY_STATEMENT, [self._name]).fetchall()
        return {text: Statement(text, int(calls), float(total_ms)) for text, calls, total_ms in rows}


def since(before: dict[str, Statement], after: dict[str, Statement]) -> list[Statement]:
    """What was asked for in between."""
    none = Statement("", 0, 0.0)
    return [
        Statement(text, now.calls - before.get(text, none).calls, now.total_ms - before.get(text, none).total_ms)
        for text, now in after.items()
    ]
