"""A provider's key that models name instead of having one of their own."""

import uuid

from django.db import models

from tenancy.models import Organization


class ProviderCredential(models.Model):
    """Without an organization it is for everybody's calls; one of an organization's own is used for its teams' instead.

    `provider` and `api_base` say whom the secret is shown to, and nobody else is: whoever may change a model must not
    be able to have its key sent elsewhere (docs/adr/0056).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    #: What a model's config says under `credential`.
    name = models.CharField(max_length=64)
    organization = models.ForeignKey(Organization, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    #: As LiteLLM calls it: what stands before the slash in a model's name, such as "openai" or "azure".
    provider = models.CharField(max_length=64)
    #: Where its models are asked; empty: at the provider's own address.
    api_base = models.CharField(max_length=1024, blank=True)
    secret_encrypted = models.BinaryField()
    last_four = models.CharField(max_length=4)
    created_at = models.DateTimeField(auto_now_add=True)
    #: When the secret was last given.
    replaced_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "-organization"]
        constraints = [
            # By name first: a call finds the global one and its organization's in one look.
            models.UniqueConstraint(
                fields=["name", "organization"], nulls_distinct=False, name="credential_name_is_unique"
            ),
            models.CheckConstraint(
                name="credential_is_well_formed",
                condition=models.Q(name__regex=r"^[A-Za-z0-9_.:-]{1,64}$")
                & models.Q(provider__regex=r"^[a-z0-9_]{1,64}$"),
            ),
        ]

    def __str__(self) -> str:
        return self.name
