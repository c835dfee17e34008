"""The forms of a team's actions."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from billing.models import CreditGrant, RefillPolicy
from config.foundation.limits import MAX_CREDITS
from modelgroups.models import ModelGroup
from tenancy.admin import MetadataField
from tenancy.admin.forms import ClientIdField, ConsoleForm, ReasonField
from tenancy.models import Team

#: As what credits can be given; an adjustment is a correction's.
GRANTED_KINDS = [(kind.value, kind.label) for kind in CreditGrant.Kind if kind != CreditGrant.Kind.ADJUSTMENT]
#: Offered to choose from, and that a team may have, as the API has it.
MAX_GROUPS_SHOWN = 500
MAX_GROUPS = 256


class CreditsField(forms.IntegerField):
    """A number of credits."""

    def __init__(self, *, least: int = 1, **options: Any) -> None:
        super().__init__(min_value=least, max_value=MAX_CREDITS, widget=UnfoldAdminIntegerFieldWidget(), **options)


class GroupsField(forms.MultipleChoiceField):
    """Model groups: a team's own first, in their order, then all others by name."""

    widget = UnfoldAdminCheckboxSelectMultipleWidget

    def offer(self, team: Team | None = None) -> list[str]:
        """Set the choices; returns the names of those that the team has."""
        own = [] if team is None else list(team.group_assignments.values_list("group__group_name", flat=True))
        others = ModelGroup.objects.exclude(group_name__in=own).order_by("group_name")
        names = [*own, *others.values_list("group_name", flat=True)[:MAX_GROUPS_SHOWN]]
        self.choices = [(name, name) for name in names]
        return own

    def validate(self, value: list[str]) -> None:
        """Raises ValidationError."""
        super().validate(value)
        if len(value) > MAX_GROUPS:
            raise ValidationError(f"A team has {MAX_GROUPS} groups at most.")


class CreateTeamForm(ConsoleForm):
    """What POST /api/teams/create takes."""

    organization_id = ClientIdField(label="Organization ID")
    team_id = ClientIdField(label="Team ID", help_text="As the API is to name it. It cannot be changed later.")
    team_alias = forms.CharField(
        label="Name", required=False, max_length=255, widget=UnfoldAdminTextInputWidget, help_text="For people."
    )
    credits_allocated = CreditsField(least=0, label="Credits", initial=0)
    model_groups = GroupsField(required=False)
    metadata = MetadataField(
        required=False, initial=dict, widget=UnfoldAdminTextareaWidget({"rows": 3}), help_text="A JSON object."
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        cast(GroupsField, self.fields["model_groups"]).offer()


class AssignGroupsForm(ConsoleForm):
    """A team's groups: those that are ticked, and no others."""

    model_groups = GroupsField(required=False)
    reason = ReasonField(required=False)

    def __init__(self, *args: Any, team: Team, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial["model_groups"] = cast(GroupsField, self.fields["model_groups"]).offer(team)


class TopUpForm(ConsoleForm):
    """Credits that are added."""

    amount = CreditsField()
    kind = forms.ChoiceField(choices=GRANTED_KINDS, initial=CreditGrant.Kind.PURCHASE, widget=UnfoldAdminSelectWidget)
    expires_on = forms.DateField(
        required=False,
        label="Last day",
        widget=UnfoldAdminTextInputWidget({"type": "date"}),
        help_text="After this day (UTC) what is left of them is written off. Empty: never.",
    )
    reason = ReasonField(help_text="For the ledger and the audit log.")

    def clean_expires_on(self) -> date | None:
        """A year that calendars have. Raises ValidationError."""
        day: date | None = self.cleaned_data["expires_on"]
        if day is not None and day.year > 2999:
            raise ValidationError("This is too far away.")
        return day

    @property
    def expires_at(self) -> datetime | None:
        """The end of the last day."""
        day: date | None = self.cleaned_data["expires_on"]
        return None if day is None else datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC)


class CorrectForm(ConsoleForm):
    """A correction, either way."""

    amount = forms.IntegerField(
        min_value=-MAX_CREDITS,
        max_value=MAX_CREDITS,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Such as 5, or -5 to take credits away. What open jobs hold cannot be taken.",
    )
    reason = ReasonField(help_text="For the ledger and the audit log.")

    def clean_amount(self) -> int:
        """Raises ValidationError for zero."""
        amount: int = self.cleaned_data["amount"]
        if not amount:
            raise ValidationError("Zero corrects nothing.")
        return amount


class RefillPolicyForm(ConsoleForm):
    """What PUT /api/credits/teams/{team_id}/refill-policy takes; the service checks it as a whole."""

    is_enabled = forms.BooleanField(required=False, label="Enabled", widget=UnfoldBooleanSwitchWidget)
    every = forms.ChoiceField(
        choices=RefillPolicy.Every.choices,
        widget=UnfoldAdminSelectWidget,
        help_text="At the start of each day, week (Monday) or month (UTC); or when too little is available.",
    )
    below = CreditsField(required=False, help_text="For “below”: fewer available credits than this are too little.")
    amount = CreditsField(required=False, label="Add", help_text="So many credits each time; or:")
    fill_to = CreditsField(required=False, label="Fill up to", help_text="What is missing from so many.")
    max_per_month = CreditsField(required=False, label="Most in a month")
    credit_limit = CreditsField(least=0, required=False, help_text="No refill goes beyond it. Empty: no limit.")

    #: The fields of PolicyTerms.
    TERMS: Sequence[str] = ("every", "amount", "fill_to", "below", "max_per_month", "is_enabled", "credit_limit")
