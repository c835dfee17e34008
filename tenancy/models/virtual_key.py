"""A team's API key. Only its hash is kept, and its text where LiteLLM Proxy has to know the key, too."""

import uuid

from django.db import models

from tenancy.models.team import Team


class VirtualKey(models.Model):
    """`key_hash` is SHA-256 of a 256-bit random key, so no slow hash is needed and lookup is one index probe."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="virtual_keys")
    name = models.CharField(max_length=128, blank=True)
    key_hash = models.BinaryField(max_length=32, unique=True)
    last_four = models.CharField(max_length=4)
    #: The key itself, encrypted: only while a proxy is configured, which must be given it again if it loses it, and
    #: only until the key is revoked. Else null.
    secret_encrypted = models.BinaryField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    #: Set by rotation: the old key works until then.
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    replaces = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="replaced_by", editable=False
    )

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"sk-…{self.last_four}"
