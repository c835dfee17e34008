"""The forms of what a key is restricted and limited to."""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from tenancy.admin.forms import ConsoleForm, ReasonField, remember_what_was_shown
from tenancy.models import VirtualKey
from tenancy.models.team import MAX_LIMIT
from tenancy.services.key_terms import TERMS


class LinesField(forms.CharField):
    """A list of texts, one a line; None where there is none."""

    widget = UnfoldAdminTextareaWidget({"rows": 3})

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, max_length=100_000, **options)

    def prepare_value(self, value: Any) -> Any:
        """As it is written."""
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """As it is kept."""
        lines = [line.strip() for line in str(super().to_python(value) or "").splitlines()]
        return [line for line in lines if line] or None

    def run_validators(self, value: Any) -> None:
        """Of the whole text."""
        super().run_validators("\n".join(value or []))


class LimitField(forms.IntegerField):
    """A limit, or none of its own."""

    def __init__(self, *, help_text: str = "Empty for the default.", **options: Any) -> None:
        super().__init__(
            required=False,
            min_value=1,
            max_value=MAX_LIMIT,
            widget=UnfoldAdminIntegerFieldWidget(),
            help_text=help_text,
            **options,
        )


class KeyTermsForm(ConsoleForm):
    """What PATCH /api/teams/{team_id}/keys/{key_id} takes; with a key, as it is now."""

    expires_at = forms.DateTimeField(
        required=False,
        label="Works until (UTC)",
        widget=forms.DateTimeInput(
            UnfoldAdminTextInputWidget({"type": "datetime-local", "step": "1"}).attrs, "%Y-%m-%dT%H:%M:%S"
        ),
        help_text="Empty: until it is revoked.",
    )
    scopes = forms.MultipleChoiceField(
        required=False,
        choices=[
            ("read", "Read the team's things"),
            ("jobs", "Jobs, and the calls in them"),
            ("direct", "OpenAI-compatible calls"),
        ],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None ticked: everything.",
    )
    allowed_models = LinesField(help_text="Names of models and model groups, one a line. Empty: all of the team's.")
    allowed_ips = LinesField(
        label="Allowed addresses", help_text="Networks such as 10.0.0.0/8, one a line. Empty: from anywhere."
    )
    requests_per_minute = LimitField()
    tokens_per_minute = LimitField()
    max_calls_in_flight = LimitField(label="Calls in flight")

    def __init__(self, *args: Any, key: VirtualKey | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        if key is not None:
            self.initial.update({name: getattr(key, name) for name in TERMS})
            remember_what_was_shown(self.fields[name] for name in TERMS)
            if key.expires_at is not None:
                self.initial["expires_at"] = key.expires_at.replace(microsecond=0)

    def clean_scopes(self) -> list[str] | None:
        """None of them is all of them."""
        return self.cleaned_data["scopes"] or None

    @property
    def terms(self) -> dict[str, Any]:
        """What was changed."""
        return {name: self.cleaned_data[name] for name in TERMS if name in self.changed_data}


class ChangeKeyForm(KeyTermsForm):
    """The same, and why."""

    reason = ReasonField(required=False)


class KeyForm(KeyTermsForm):
    """A further key."""

    field_order = ("name",)
    name = forms.CharField(
        required=False, max_length=128, widget=UnfoldAdminTextInputWidget, help_text="What it is for."
    )
