"""A team: what holds keys, credits and model groups."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from tenancy.models.organization import Organization

#: Of whatever may be limited: what the column holds. More is no limit.
MAX_LIMIT = 2**31 - 1


class Team(models.Model):
    """`team_id` is the client's own id, unique over all organizations (the API names teams by it alone)."""

    class Status(models.TextChoices):
        """Whether the team's keys may work."""

        ACTIVE = "active"
        SUSPENDED = "suspended"

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="teams")
    team_id = models.CharField(max_length=128)
    team_alias = models.CharField(max_length=255, blank=True)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.ACTIVE)
    #: Overrides settings.JOB_TTL_S for this team's jobs.
    job_ttl_s = models.PositiveIntegerField(
        null=True, blank=True, help_text="Seconds until an open job is failed; empty for the default."
    )
    #: Overrides settings.TEAM_CALLS_IN_FLIGHT.
    max_calls_in_flight = models.PositiveIntegerField(
        null=True, blank=True, help_text="LLM calls that may wait or run at once; empty for the default."
    )
    #: Override settings.TEAM_REQUESTS_PER_MINUTE and TEAM_TOKENS_PER_MINUTE.
    requests_per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text="LLM calls that may begin within any minute; empty for the default."
    )
    tokens_per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text="Tokens that LLM calls may take within any minute; empty for the default."
    )
    #: Of each of its users, where a call names him.
    user_requests_per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text="LLM calls of one user that may begin within any minute; empty: no limit."
    )
    user_tokens_per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text="Tokens that one user's LLM calls may take within any minute; empty: no limit."
    )
    #: The team's opt-in to have prompts and answers kept.
    keep_content_s = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Seconds for which prompts and answers are kept, encrypted; empty: not at all.",
    )
    #: `create-and-call` for OpenAI clients, which cannot open and complete a job.
    direct_calls_are_jobs = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Every OpenAI-compatible call without a job is one of its own, for one credit.",
    )
    #: Overrides settings.CREDITS_LOW_THRESHOLDS. Zero alone: never.
    credits_low_thresholds = ArrayField(
        models.PositiveBigIntegerField(),
        null=True,
        blank=True,
        help_text="Credits below which the team is told; empty for the default.",
    )
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        permissions = [("suspend_team", "Can suspend team")]
        constraints = [
            models.UniqueConstraint(fields=["team_id"], name="team_id_is_unique"),
            models.CheckConstraint(
                name="team_id_is_well_formed",
                condition=models.Q(team_id__regex=r"^[A-Za-z0-9_.:-]{1,128}$"),
            ),
            models.CheckConstraint(name="team_status_is_known", condition=models.Q(status__in=["active", "suspended"])),
            models.CheckConstraint(
                name="team_limits_are_positive",
                # What is null passes a check.
                condition=models.Q(requests_per_minute__gt=0, tokens_per_minute__gt=0),
            ),
            models.CheckConstraint(
                name="team_user_rates_are_positive",
                condition=models.Q(user_requests_per_minute__gt=0, user_tokens_per_minute__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return self.team_id
