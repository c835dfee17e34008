"""Settings, entry points, the error table: the one package that knows all others.

`config.foundation` is the exception: it stands below every app and imports none of them.
"""

from config.celery import app as celery_app

__all__ = ["celery_app"]
