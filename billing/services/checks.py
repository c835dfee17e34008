"""Asking for a check of the books. It is done in jobs.services.books, which knows the jobs, too."""

from celery import current_app
from kombu.exceptions import OperationalError

from config.foundation.errors import DependencyUnavailable


def request_check(*, actor: str) -> None:
    """Have the maintenance worker check the books: it may take a minute. Raises DependencyUnavailable."""
    try:
        current_app.send_task("jobs.verify_ledger", kwargs={"actor": actor})
    except OperationalError as error:
        raise DependencyUnavailable("broker") from error
