"""A process that answers for calls. Its heartbeat tells whether what it was doing is still being done."""

from django.db import models


class CallProcess(models.Model):
    """One row per start of a web or worker process. One heartbeat per process costs less than a lease per call."""

    id = models.UUIDField(primary_key=True)
    name = models.CharField(max_length=255)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["-heartbeat_at"]

    def __str__(self) -> str:
        return self.name
