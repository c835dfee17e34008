"""The admin of teams' users: here and not in tenancy.admin, because it shows what they use and erases what they did."""

from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import action
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget

from config.foundation.limits import MAX_CREDITS
from jobs.queries.usage import UserUsage, parse_period, user_usage
from jobs.services.erasure import request_erasure
from tenancy.admin import ReadOnlyAdmin, ReadOnlyInline, actor_of, in_a_row, link
from tenancy.admin.forms import ConfirmForm, ConsoleForm, ReasonField, done, form_page
from tenancy.models import TeamUser, UserLimit
from tenancy.services.users import change_user


class UserForm(ConfirmForm):
    """What PATCH /api/teams/{team_id}/users/{user_id} takes: what is left empty has no limit."""

    status = forms.ChoiceField(
        choices=[("active", "active"), ("blocked", "blocked")],
        widget=UnfoldAdminSelectWidget,
        help_text="New jobs and calls of a blocked user are refused.",
    )
    credits = forms.IntegerField(
        label="Credits per month",
        required=False,
        min_value=0,
        max_value=MAX_CREDITS,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Held or charged, for jobs opened in a calendar month (UTC). Empty: no limit.",
    )
    direct_cost = forms.DecimalField(
        label="USD per month",
        required=False,
        min_value=0,
        max_value=1_000_000,
        decimal_places=6,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="What OpenAI-compatible calls without a job may cost. Empty: no limit.",
    )


class EraseForm(ConsoleForm):
    """Why; and that it is meant."""

    reason = ReasonField(help_text="For the audit log, which keeps it for good: do not name him here.")
    is_meant = forms.BooleanField(label="Erase him for good")


class UserLimitInline(ReadOnlyInline):
    """What he may use in a month."""

    model = UserLimit
    fields = ("kind", "amount", "month", "taken", "reserved")
    readonly_fields = fields
    show_change_link = False


@admin.register(TeamUser)
class TeamUserAdmin(ReadOnlyAdmin):
    """Users, made on first sight. They are never deleted: erasing leaves a pseudonym."""

    list_display = ("user_id", "team", "status", "first_seen_at", "last_seen_at")
    list_filter = (("status", ChoicesDropdownFilter), ("team", AutocompleteSelectFilter))
    list_select_related = ("team",)
    search_fields = indexed_columns = ("user_id",)
    search_help_text = "A team's id or a user's, in full"
    team_column = "team_id"
    sortable_by = ("id",)
    ordering = ("-id",)
    fields = (
        "team",
        "user_id",
        "status",
        "this_month",
        "direct_calls",
        "see_also",
        "first_seen_at",
        "last_seen_at",
        "erasure_requested_at",
        "erased_at",
    )
    readonly_fields = fields
    inlines = (UserLimitInline,)
    actions_detail = ("change_limits", "erase")

    def has_limit_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For blocking and limits."""
        return request.user.has_perm("tenancy.change_teamuser")

    def has_erase_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For erasing."""
        return request.user.has_perm("tenancy.erase_teamuser")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """With what he has used, which two fields show."""
        user = super().get_object(request, object_id, from_field)
        if user is not None:
            user.used = user_usage(user_pk=user.pk, period=parse_period(None, now=timezone.now()))
        return user

    @admin.display(description="This month (UTC)")
    def this_month(self, user: Any) -> str:
        """In jobs."""
        used: UserUsage = user.used
        summary = used.usage.summary
        return (
            f"{summary.total_jobs:,} jobs ({summary.successful_jobs:,} completed, {summary.failed_jobs:,} failed), "
            f"{used.usage.credits_used:,} credits, {used.calls:,} calls, {summary.total_tokens:,} tokens, "
            f"{summary.total_cost_usd:,.4f} USD"
        )

    @admin.display(description="Of these direct calls")
    def direct_calls(self, user: Any) -> str:
        """Without a job; their tokens and costs are not in the jobs'."""
        direct = user.used.usage.direct
        return f"{direct.calls:,} calls, {direct.tokens:,} tokens, {direct.cost_usd:,.4f} USD"

    @admin.display(description="See also")
    def see_also(self, user: TeamUser) -> SafeString:
        """His rows."""
        return in_a_row(
            link("jobs_job_changelist", "Jobs", team_user__id__exact=user.pk),
            link("jobs_call_changelist", "Calls", team_user__id__exact=user.pk),
        )

    def found(self, request: HttpRequest, object_id: str) -> TeamUser:
        """The user of a page, if there is still something of him. Raises Http404."""
        user = super().get_object(request, unquote(object_id))
        if user is None or user.status in (TeamUser.Status.ERASING, TeamUser.Status.ERASED):
            raise Http404
        return user

    @action(description="Block or limit", url_path="limits", permissions=["limit"], icon="tune")
    def change_limits(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Whether he may, and how much."""
        user = self.found(request, object_id)
        kinds = UserLimit.Kind.values

        def act(form: UserForm) -> HttpResponse:
            fields = form.cleaned_data
            change_user(
                user_pk=user.pk,
                status=fields["status"],
                limits={kind: None if fields[kind] is None else Decimal(fields[kind]) for kind in kinds},
                actor=actor_of(request),
                reason=fields["reason"],
            )
            return done(request, "The user is changed.", reverse("admin:tenancy_teamuser_change", args=[user.pk]))

        amounts = dict(user.limits.values_list("kind", "amount"))
        return form_page(
            self,
            request,
            UserForm,
            act,
            title=f"Limits of user {user.user_id} of team {user.team}",
            submit="Save",
            original=user,
            initial={"status": user.status, **{kind: _plain(amount) for kind, amount in amounts.items()}},
        )

    @action(description="Erase", url_path="erase", permissions=["erase"], icon="person_off")
    def erase(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """For good."""
        user = self.found(request, object_id)

        def act(form: EraseForm) -> HttpResponse:
            erased = request_erasure(user_pk=user.pk, actor=actor_of(request), reason=form.cleaned_data["reason"])
            text = f"The user is {erased.user_id} from now on. What is stored of him is erased within minutes."
            return done(request, text, reverse("admin:tenancy_teamuser_change", args=[user.pk]))

        return form_page(
            self,
            request,
            EraseForm,
            act,
            title=f"Erase user {user.user_id} of team {user.team}",
            text=(
                "His name is replaced by a random one at once. Metadata, messages, purposes, prompts, answers and "
                "webhook events of his jobs and calls are deleted, those of open ones when they have ended. "
                "Credits, costs and the ledger stay. This cannot be undone."
            ),
            submit="Erase",
            is_danger=True,
            original=user,
        )


def _plain(amount: Decimal) -> str:
    """Without the zeros that the column has behind it."""
    return f"{amount.normalize():f}"


@admin.register(UserLimit)
class UserLimitAdmin(ReadOnlyAdmin):
    """Limits over all users: who has used how much of his month? They are set on the user's page."""

    list_display = ("its_user", "team", "kind", "amount", "month", "taken", "reserved")
    list_filter = ("kind",)
    list_select_related = ("user__team",)
    search_fields = ("user__user_id__exact", "user__team__team_id__exact")
    fields = ("its_user", "team", "kind", "amount", "month", "taken", "reserved")
    readonly_fields = fields
    ordering: ClassVar = ("-id",)

    @admin.display(description="User")
    def its_user(self, limit: UserLimit) -> SafeString:
        """A link."""
        return link("tenancy_teamuser_change", limit.user, pk=limit.user_id)

    @admin.display(description="Team")
    def team(self, limit: UserLimit) -> SafeString:
        """The user's."""
        return link("tenancy_team_change", limit.user.team, pk=limit.user.team_id)
