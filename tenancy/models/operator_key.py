"""An operator's API key: hashed, named, revocable, limited to scopes."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models


class OperatorKey(models.Model):
    """The first one is made by `manage.py create_operator_key` (contract, "Who may call what")."""

    class Scope(models.TextChoices):
        """What a key may do. `all` includes every other, those of later releases too."""

        ALL = "all"
        READ = "read"
        PROVISION = "provision"
        CREDITS = "credits"
        JOBS = "jobs"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=128, unique=True)
    key_hash = models.BinaryField(max_length=32, unique=True)
    last_four = models.CharField(max_length=4)
    scopes = ArrayField(models.CharField(max_length=16, choices=Scope.choices), default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.name} (…{self.last_four})"
