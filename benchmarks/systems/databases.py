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
