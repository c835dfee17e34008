"""A customer: the company whose teams use the platform."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Organization(models.Model):
    """`organization_id` is the client's own id and the one that the API speaks."""

    class Status(models.TextChoices):
        """Whether the organization's teams may work."""

        ACTIVE = "active"
        SUSPENDED = "suspended"

    organization_id = models.CharField(max_length=128)
    name = models.CharField(max_length=255)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.ACTIVE)
    #: Who gets mail about its teams.
    alert_emails = ArrayField(
        models.EmailField(), null=True, blank=True, help_text="Comma-separated: who gets mail about its teams."
    )
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["organization_id"], name="organization_id_is_unique"),
            models.CheckConstraint(
                name="organization_id_is_well_formed",
                condition=models.Q(organization_id__regex=r"^[A-Za-z0-9_.:-]{1,128}$"),
            ),
            models.CheckConstraint(
                name="organization_status_is_known", condition=models.Q(status__in=["active", "suspended"])
            ),
        ]

    def __str__(self) -> str:
        return self.organization_id
