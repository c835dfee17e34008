"""The audit log: who changed what, from what to what."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q

from tenancy.models.organization import Organization
from tenancy.models.team import Team


class AuditEntry(models.Model):
    """Written in the transaction of the change, and never changed or deleted (a trigger, migration 0009).

    `actor` is as in the ledger: "console:<username>", "operator:<key id>", "team:<key id>", "open", or a command's
    or a task's name.
    """

    id = models.BigAutoField(primary_key=True)
    created_at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=200)
    #: A dotted word, such as "team.suspended".
    action = models.CharField(max_length=64)
    #: The public id of what was changed: a team_id, a key's id, a group's name.
    subject = models.CharField(max_length=255)
    #: Whose it is, where it is somebody's. A team's entries have its organization, too.
    organization = models.ForeignKey(Organization, null=True, on_delete=models.PROTECT, related_name="+")
    team = models.ForeignKey(Team, null=True, on_delete=models.PROTECT, related_name="+")
    #: Of what was changed. Null where there is nothing to compare. Never secrets.
    before = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        constraints = [
            models.CheckConstraint(
                name="audit_entry_says_who_did_what",
                condition=~Q(actor="") & ~Q(subject="") & Q(action__regex=r"^[a-z_]+(\.[a-z_]+)+$"),
            ),
        ]
        indexes = [
            models.Index(fields=["action", "id"], name="audit_entries_by_action"),
            models.Index(fields=["actor", "id"], name="audit_entries_by_actor"),
            models.Index(fields=["created_at"], name="audit_entries_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"
