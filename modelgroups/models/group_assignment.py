"""Which team may use which group."""

from django.db import models

from modelgroups.models.model_group import ModelGroup
from tenancy.models import Team


class GroupAssignment(models.Model):
    """A team without any may call nothing: none means none."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="group_assignments")
    group = models.ForeignKey(ModelGroup, on_delete=models.PROTECT, related_name="assignments")
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["team", "group"], name="group_is_assigned_once")]

    def __str__(self) -> str:
        return f"{self.team_id}: {self.group_id}"
