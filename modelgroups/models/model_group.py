"""A named collection of models with fallbacks, such as "ResumeAgent"."""

import uuid

from django.db import models


class ModelGroup(models.Model):
    """`group_name` is what integrating apps say instead of a model's name."""

    class Status(models.TextChoices):
        """An inactive group answers as if it were not assigned."""

        ACTIVE = "active"
        INACTIVE = "inactive"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    group_name = models.CharField(max_length=128)
    display_name = models.CharField(max_length=255, blank=True)
    description = models.TextField(blank=True)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.ACTIVE)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        permissions = [
            ("test_modelgroup", "Can send a test call to a model"),
            ("assign_modelgroup", "Can assign model groups to teams"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["group_name"], name="group_name_is_unique"),
            models.CheckConstraint(
                name="group_name_is_well_formed",
                condition=models.Q(group_name__regex=r"^[A-Za-z0-9_.:-]{1,128}$"),
            ),
            models.CheckConstraint(name="group_status_is_known", condition=models.Q(status__in=["active", "inactive"])),
        ]

    def __str__(self) -> str:
        return self.group_name
