"""One model of a group: what to ask, where, and in which order."""

from django.db import models

from modelgroups.models.model_group import ModelGroup


class GroupModel(models.Model):
    """Tried by `priority` (0 first), ties by `position`, the place in the list as it was given.

    `config` holds LiteLLM parameters out of the allow-list in `modelgroups.gateway.parameters`; the provider's
    key is never in it but in `api_key_encrypted`, or in the ProviderCredential that its `credential` names.
    """

    group = models.ForeignKey(ModelGroup, on_delete=models.CASCADE, related_name="models")
    model_name = models.CharField(max_length=255)
    priority = models.PositiveIntegerField(default=0)
    position = models.PositiveIntegerField(default=0)
    #: One that is not is kept for later: no call tries it.
    is_enabled = models.BooleanField(default=True, db_default=True)
    config = models.JSONField(default=dict, blank=True)
    api_key_encrypted = models.BinaryField(null=True, blank=True)
    api_key_last_four = models.CharField(max_length=4, blank=True)

    class Meta:
        ordering = ["priority", "position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["group", "position"], name="one_model_per_position"),
            models.CheckConstraint(name="api_key_is_not_in_config", condition=~models.Q(config__has_key="api_key")),
        ]

    def __str__(self) -> str:
        return f"{self.model_name} ({self.priority})"
