"""What was spent at LiteLLM Proxy, as the proxy itself counted it."""

from django.db import models
from django.db.models import Q

from tenancy.models import Team


class ProxySpend(models.Model):
    """A team's spend on one day (UTC) with one key on one model.

    With the platform key our own workers spent it, so it is in the jobs' costs as well; with any other key an
    integrating app spent it directly, and it is in nobody's job.
    """

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="proxy_spend")
    day = models.DateField()
    #: The proxy's name of the key: the hex SHA-256 of its text.
    key_hash = models.CharField(max_length=64)
    is_platform = models.BooleanField()
    model_name = models.CharField(max_length=255)
    spend_usd = models.DecimalField(max_digits=20, decimal_places=12)
    requests = models.BigIntegerField(default=0)
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    read_at = models.DateTimeField()

    class Meta:
        ordering = ["-day", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["team", "day", "key_hash", "model_name"], name="spend_is_counted_once_a_day"
            ),
            models.CheckConstraint(
                name="spend_is_not_negative",
                condition=Q(spend_usd__gte=0, requests__gte=0, prompt_tokens__gte=0, completion_tokens__gte=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.team_id} {self.day} {self.model_name}"
