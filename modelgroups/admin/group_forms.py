"""The form of a group's models: an ordered list, checked by the rules that the API's own changes are checked by.

Nothing of it is saved by Django: `ModelsFormSet.specs` is what the services are given.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.models import BaseInlineFormSet
from django.forms.utils import pretty_name
from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from config.foundation.errors import DomainError
from modelgroups import queries
from modelgroups.gateway.parameters import CREDENTIAL
from modelgroups.models import GroupModel, ModelGroup
from modelgroups.services.groups import HIDDEN, ModelSpec, check_models, without_secrets
from tenancy.admin import MetadataField

MAX_MODELS = 32
#: As the API has it.
MAX_DESCRIPTION = 4096


class GroupForm(forms.ModelForm):
    """What can be given and changed of a group itself."""

    class Meta:
        model = ModelGroup
        fields = ("group_name", "display_name", "description", "status", "metadata")

    def clean_description(self) -> str:
        """Raises ValidationError for one that is too long."""
        description: str = self.cleaned_data["description"]
        if len(description) > MAX_DESCRIPTION:
            raise ValidationError(f"At most {MAX_DESCRIPTION:,} characters, not {len(description):,}.")
        return description


class GroupModelForm(forms.ModelForm):
    """One model. `place` is where it stands in the list; what is dragged gets another."""

    place = forms.IntegerField(required=False, min_value=0, widget=UnfoldAdminIntegerFieldWidget)
    model_name = forms.CharField(
        max_length=255, widget=UnfoldAdminTextInputWidget({"placeholder": "gpt-4o, anthropic/claude-…"})
    )
    is_enabled = forms.BooleanField(label="Enabled", required=False, initial=True, widget=UnfoldBooleanSwitchWidget)
    shares = forms.BooleanField(
        label="Same rank",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="As the model above: calls are spread over both, by their weights.",
    )
    credential = forms.ChoiceField(required=False, widget=UnfoldAdminSelectWidget)
    new_api_key = forms.CharField(
        label="New key",
        required=False,
        max_length=16_384,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Empty: it keeps the key it has. Never shown again.",
    )
    config = MetadataField(required=False, widget=UnfoldAdminExpandableTextareaWidget({"rows": 2}))

    class Meta:
        model = GroupModel
        fields = ("model_name", "is_enabled", "config")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, field in self.fields.items():
            # In a table the column's head is all that is seen; read aloud, each field has to say it itself.
            field.widget.attrs.setdefault("aria-label", field.label or pretty_name(name))

    def _post_clean(self) -> None:
        """The row stays as it is: what becomes of it is the service's."""

    def clean_config(self) -> Any:
        """Without a key, which would be shown."""
        config = self.cleaned_data["config"]
        if "api_key" in config:
            raise ValidationError("A key goes into its own field, where it is not shown again.")
        return config

    def has_changed(self) -> bool:
        """An empty row that was only dragged is still none."""
        return bool({*self.changed_data} - {"place"})

    @property
    def spec(self) -> ModelSpec:
        """Without its priority, which is the list's. Raises ValidationError."""
        data = self.cleaned_data
        config = dict(data["config"])
        if data["credential"]:
            config[CREDENTIAL] = data["credential"]
        if data["new_api_key"]:
            config["api_key"] = data["new_api_key"]
        config = self._with_hidden_headers(config)
        return ModelSpec(data["model_name"], 0, config, data["is_enabled"], stood_as=self.instance.pk)

    def _with_hidden_headers(self, config: dict[str, Any]) -> dict[str, Any]:
        """What is shown as **** is what it was, as long as the model is asked at the same place."""
        headers = config.get("extra_headers")
        if not isinstance(headers, dict) or HIDDEN not in headers.values():
            return config
        before: Mapping[str, Any] = self.instance.config if self.instance.pk else {}
        is_same_place = self.cleaned_data["model_name"] == self.instance.model_name and all(
            config.get(name) == before.get(name) for name in ("model", "api_base", CREDENTIAL)
        )
        known = before.get("extra_headers", {}) if is_same_place else {}
        for name, value in headers.items():
            if value == HIDDEN and name not in known:
                raise ValidationError(f"Give the value of the header {name} again: it is not sent to another place.")
        return {
            **config,
            "extra_headers": {name: known[name] if value == HIDDEN else value for name, value in headers.items()},
        }


class ModelsFormSet(BaseInlineFormSet):
    """A group's models in order. `specs` are there once it is valid."""

    specs: list[ModelSpec]

    def add_fields(self, form: Any, index: int | None) -> None:
        """With what a row shows of itself, and of the one above."""
        super().add_fields(form, index)
        form.fields["place"].initial = index
        names = self._credential_names()
        rows = list(self.get_queryset())
        if index is not None and index < len(rows):
            row = rows[index]
            config = without_secrets(row.config)
            named = config.pop(CREDENTIAL, "")
            form.initial = {
                **form.initial,
                "model_name": row.model_name,
                "is_enabled": row.is_enabled,
                "shares": index > 0 and rows[index - 1].priority == row.priority,
                "credential": named,
                "config": config,
            }
            names = sorted({*names, named} - {""})
        form.fields["credential"].choices = [("", "-"), *((name, name) for name in names)]

    def clean(self) -> None:
        """Raises ValidationError for what the service would refuse."""
        super().clean()
        if any(self.errors):
            return
        try:
            self.specs = self._ranked()
            check_models(self.specs)
        except DomainError as error:
            raise ValidationError(str(error)) from error

    @property
    def is_changed(self) -> bool:
        """Whether anything is not as it was, the order included."""
        return any(form.changed_data for form in self.forms)

    def _ranked(self) -> list[ModelSpec]:
        """In order, each a rank below the one above unless it shares that one's."""
        kept: Iterator[Any] = (form for form in self.forms if form not in self.deleted_forms)
        given = [form for form in kept if form.instance.pk or form.has_changed()]
        if not 1 <= len(given) <= MAX_MODELS:
            raise ValidationError(f"A group has 1 to {MAX_MODELS} models.")
        given.sort(key=_place)
        specs: list[ModelSpec] = []
        for form in given:
            is_lower = specs and not form.cleaned_data["shares"]
            priority = specs[-1].priority + bool(is_lower) if specs else 0
            specs.append(dataclasses.replace(form.spec, priority=priority))
        return specs

    def _credential_names(self) -> list[str]:
        """Read once for all rows."""
        if not hasattr(self, "_names"):
            self._names = queries.credential_names()
        return self._names


def _place(form: Any) -> int:
    """Where it was dragged to; a new one that was not, last."""
    place = form.cleaned_data.get("place")
    return MAX_MODELS if place is None else int(place)
