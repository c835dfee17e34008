"""The admin of sums by day, and of what keeps them up to date."""

from django.contrib import admin
from django.utils.safestring import SafeString

from jobs.models import CallDay, CreditDay, JobDay, LateChange, ModelDay, RollupDay
from jobs.models.day_rollup import DayRollup
from tenancy.admin import ReadOnlyAdmin, link


class DayRollupAdmin(ReadOnlyAdmin):
    """Sums by day (docs/adr/0052): where the dashboard's figures come from."""

    list_select_related = ("team",)
    team_column = "team_id"
    search_fields = ("team__team_id",)
    search_help_text = "A team's id, in full"
    sortable_by = ("day",)

    @admin.display(description="Team")
    def whose(self, rollup: DayRollup) -> SafeString | str:
        """A team's, or everybody's."""
        return link("tenancy_team_change", rollup.team, pk=rollup.team_id) if rollup.team else "all teams"


@admin.register(JobDay)
class JobDayAdmin(DayRollupAdmin):
    """Jobs by the day on which they were created."""

    list_display = ("day", "whose", "job_type", "status", "jobs")
    fields = list_display
    readonly_fields = fields


@admin.register(CallDay)
class CallDayAdmin(DayRollupAdmin):
    """Calls by the day on which they were admitted."""

    list_display = ("day", "whose", "state", "cause", "calls")
    fields = (*list_display, "latency_buckets")
    readonly_fields = fields


@admin.register(ModelDay)
class ModelDayAdmin(DayRollupAdmin):
    """Attempts by the day on which they were started."""

    list_display = ("day", "whose", "model_name", "attempts", "failures", "cost_usd")
    fields = (*list_display, "prompt_tokens", "completion_tokens", "latency_buckets")
    readonly_fields = fields


@admin.register(CreditDay)
class CreditDayAdmin(DayRollupAdmin):
    """Ledger entries by day."""

    list_display = ("day", "whose", "entries", "used", "added", "removed")
    fields = list_display
    readonly_fields = fields


@admin.register(RollupDay)
class RollupDayAdmin(ReadOnlyAdmin):
    """Which days are summed up, and whether only a mark will have them summed up again."""

    list_display = ("day", "is_closed", "rolled_up_at")
    list_filter = ("is_closed",)
    fields = (*list_display, "closing_xid")
    readonly_fields = fields


@admin.register(LateChange)
class LateChangeAdmin(ReadOnlyAdmin):
    """Marks of days that were over when a row of theirs was written; there are some for half a minute at most."""

    list_display = ("id", "day", "origin")
    list_filter = ("day",)
    fields = list_display
    readonly_fields = fields
