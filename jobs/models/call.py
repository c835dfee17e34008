"""One LLM call as the client asked for it, however many models were tried."""

import uuid

from django.db import models
from django.db.models import Q

from jobs.models.job import Job
from modelgroups.models import ModelGroup
from tenancy.models import Team, TeamUser

OPEN_STATES = ("queued", "running")
UNSUCCESSFUL_STATES = ("failed", "interrupted", "cancelled")
FINAL_STATES = ("succeeded", *UNSUCCESSFUL_STATES)


class Call(models.Model):
    """queued → running → succeeded | failed | interrupted | cancelled. The row is there before anything is dispatched.

    Prompt and answer are not in it (`CallContent` has them, where they are kept at all). `retry_of` names an
    unsuccessful call that this one supersedes: that one then no longer keeps the job from being charged.
    """

    class State(models.TextChoices):
        """The last four are final (docs/adr/0012)."""

        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        #: No model answered.
        FAILED = "failed"
        #: Its worker died.
        INTERRUPTED = "interrupted"
        #: The client of a stream left before its end.
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    #: None for a direct call, which is made by an OpenAI client without a job.
    job = models.ForeignKey(Job, null=True, blank=True, on_delete=models.PROTECT, related_name="calls")
    #: Whose it is, for counting calls in flight. Whoever inserts it has read the team, so a check would only cost.
    team = models.ForeignKey(Team, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False)
    #: Who it is made for: whom it names, else its job's user.
    team_user = models.ForeignKey(
        TeamUser, null=True, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    group = models.ForeignKey(ModelGroup, null=True, on_delete=models.SET_NULL, related_name="+")
    #: The group's name at that time; it outlives the group.
    model_group = models.CharField(max_length=128)
    #: The OpenAI endpoint that was asked, such as "chat/completions"; empty for llm-call.
    endpoint = models.CharField(max_length=32, blank=True, default="", db_default="")
    #: The one model of the group that was asked for by its name; empty where all are tried in their order.
    model_name = models.CharField(max_length=255, blank=True, default="", db_default="")
    purpose = models.CharField(max_length=256, blank=True)
    retry_of = models.OneToOneField("self", null=True, blank=True, on_delete=models.PROTECT, related_name="retried_by")
    state = models.CharField(max_length=16, choices=State.choices, default=State.QUEUED)
    #: Why it failed: a stable name (modelgroups.gateway.errors.Cause, or one of jobs.errors), and the client's text.
    cause = models.CharField(max_length=32, blank=True)
    error = models.CharField(max_length=512, blank=True)
    #: It ended after its job had: costed, but not part of the job's completion.
    is_late = models.BooleanField(default=False)
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    #: The sum over all attempts, failed ones included.
    cost_usd = models.DecimalField(max_digits=20, decimal_places=12, default=0)
    #: What it was estimated at. While the call is open, so much of the team's budget is reserved for it (ADR 61).
    reserved_usd = models.DecimalField(max_digits=20, decimal_places=12, default=0, db_default=0)
    latency_ms = models.IntegerField(null=True, blank=True)
    finish_reason = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    deadline_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    #: The CallProcess that answers for it: web while it is queued, then the worker that runs it. An asynchronous call
    #: needs none while it is queued. No foreign key: the rows come and go.
    process_id = models.UUIDField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.CheckConstraint(name="call_state_is_known", condition=Q(state__in=[*OPEN_STATES, *FINAL_STATES])),
            models.CheckConstraint(
                name="call_has_ended_or_is_open",
                condition=Q(state__in=OPEN_STATES, ended_at=None) | Q(state__in=FINAL_STATES, ended_at__isnull=False),
            ),
            models.CheckConstraint(
                name="unsuccessful_call_has_a_cause", condition=~Q(state__in=UNSUCCESSFUL_STATES, cause="")
            ),
            models.CheckConstraint(
                name="call_counts_are_not_negative",
                condition=Q(prompt_tokens__gte=0, completion_tokens__gte=0, cost_usd__gte=0, reserved_usd__gte=0),
            ),
        ]
        indexes = [
            # Few rows at any time: it counts a team's calls in flight, and the sweeper reads all of it. Its condition
            # does not name the state, so that claiming a call touches no index (migration 0004).
            models.Index(fields=["team"], condition=Q(ended_at=None), name="open_calls"),
            # For usage. Calls in a job are not in it.
            models.Index(fields=["team", "created_at"], condition=Q(job=None), name="direct_calls"),
            # The console's lists, and rollups. The conditions name only what an outcome sets, and few calls meet them.
            models.Index(fields=["created_at", "id"], name="calls_in_order"),
            models.Index(fields=["team", "created_at"], name="calls_of_team"),
            # A user's usage, and what is to be erased of him.
            models.Index(
                fields=["team_user", "created_at", "id"], condition=~Q(team_user=None), name="calls_of_team_user"
            ),
            models.Index(fields=["created_at", "id"], condition=~Q(cause=""), name="unsuccessful_calls"),
            models.Index(fields=["cause", "created_at"], condition=~Q(cause=""), name="calls_by_cause"),
            models.Index(fields=["created_at", "id"], condition=Q(is_late=True), name="late_calls"),
        ]

    def __str__(self) -> str:
        return f"{self.purpose or self.model_group} {self.id}"

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in FINAL_STATES

    @property
    def counts_as_failed(self) -> bool:
        """Whether it keeps its job from being charged. A cancelled call does not: that was the client's own doing."""
        return self.state in (self.State.FAILED, self.State.INTERRUPTED)

    @property
    def tokens(self) -> int:
        """All tokens of the call."""
        return self.prompt_tokens + self.completion_tokens
