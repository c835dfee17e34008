"""A team's API key. Only its hash is kept, and its text where LiteLLM Proxy has to know the key, too."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models

from tenancy.models.team import Team

MAX_ALLOWED_MODELS = 256
MAX_MODEL_NAME = 255
MAX_ALLOWED_IPS = 64


class VirtualKey(models.Model):
    """`key_hash` is SHA-256 of a 256-bit random key, so no slow hash is needed and lookup is one index probe.

    What restricts the key is null where it does not; what limits it, where the default does.
    """

    class Scope(models.TextChoices):
        """What a key may be used for."""

        READ = "read"
        #: Jobs and the calls in them.
        JOBS = "jobs"
        #: OpenAI-compatible calls.
        DIRECT = "direct"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="virtual_keys")
    name = models.CharField(max_length=128, blank=True)
    key_hash = models.BinaryField(max_length=32, unique=True)
    last_four = models.CharField(max_length=4)
    #: The key itself, encrypted: only while a proxy is configured, which must be given it again if it loses it, and
    #: only until the key is revoked. Else null.
    secret_encrypted = models.BinaryField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    #: Set by operators, and by rotation: the old key works until then.
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    replaces = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="replaced_by", editable=False
    )
    scopes = ArrayField(models.CharField(max_length=16), null=True, blank=True)
    #: Names of models and of model groups, as clients name them.
    allowed_models = ArrayField(models.CharField(max_length=MAX_MODEL_NAME), null=True, blank=True)
    #: Networks that the key may be used from.
    allowed_ips = ArrayField(models.CharField(max_length=43), null=True, blank=True)
    #: Override settings.KEY_REQUESTS_PER_MINUTE, KEY_TOKENS_PER_MINUTE and KEY_CALLS_IN_FLIGHT.
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    tokens_per_minute = models.PositiveIntegerField(null=True, blank=True)
    max_calls_in_flight = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(
                name="virtual_key_scopes_are_known",
                # What is null passes a check.
                condition=models.Q(scopes__contained_by=["read", "jobs", "direct"], scopes__len__gt=0),
            ),
            models.CheckConstraint(
                name="virtual_key_allowed_models_are_some",
                condition=models.Q(allowed_models__len__range=(1, MAX_ALLOWED_MODELS)),
            ),
            models.CheckConstraint(
                name="virtual_key_allowed_ips_are_networks",
                condition=models.Func(
                    models.F("allowed_ips"), function="tenancy_are_networks", output_field=models.BooleanField()
                ),
            ),
            models.CheckConstraint(
                name="virtual_key_limits_are_positive",
                condition=models.Q(requests_per_minute__gt=0, tokens_per_minute__gt=0, max_calls_in_flight__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return f"sk-…{self.last_four}"
