"""Pages of the console that ask before they act: GET shows a form, POST acts, by one call to a service."""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from config.foundation.errors import DomainError
from config.foundation.limits import CLIENT_ID, CLIENT_ID_RULE
from tenancy.errors import IdempotencyKeyReused
from tenancy.services import idempotency

MAX_REASON = 1024


def remember_what_was_shown(fields: Iterable[forms.Field]) -> None:
    """Have a form send along what it was opened with: what somebody else changed meanwhile is no change of its own."""
    for field in fields:
        field.show_hidden_initial = True


class ClientIdField(forms.CharField):
    """An id under the API's rule for those that clients choose."""

    widget = UnfoldAdminTextInputWidget

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=128, **options)

    def validate(self, value: str) -> None:
        """Raises ValidationError."""
        super().validate(value)
        if value and not CLIENT_ID.fullmatch(value):
            raise ValidationError(f"This {CLIENT_ID_RULE}.", code="invalid")


class ReasonField(forms.CharField):
    """Why, for the audit log and the ledger."""

    widget = UnfoldAdminTextareaWidget({"rows": 2})

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_REASON, **options)


class ConsoleForm(forms.Form):
    """A form that acts. Its token makes it act once, however often it is sent."""

    token = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial.setdefault("token", uuid.uuid4())

    def once(self, request: HttpRequest, act: Callable[[], Any]) -> Any:
        """What `act` returns; None, and a message, where this form has done it before."""
        shown = {name: str(value) for name, value in sorted(self.cleaned_data.items())}
        text = json.dumps([request.path, shown], cls=DjangoJSONEncoder)
        result = idempotency.once(
            scope=f"console:{request.user.pk}",
            key=str(self.cleaned_data["token"]),
            request_hash=hashlib.sha256(text.encode()).digest(),
            act=act,
        )
        if result is None:
            messages.warning(request, "This was done already: the form was sent twice. Nothing was done again.")
        return result


class ConfirmForm(ConsoleForm):
    """Nothing to fill in but, if one likes, why."""

    reason = ReasonField(required=False)


def form_page(
    model_admin: admin.ModelAdmin,
    request: HttpRequest,
    form_class: type[forms.Form],
    act: Callable[[Any], HttpResponse],
    *,
    title: str,
    text: str = "",
    submit: str,
    is_danger: bool = False,
    original: Any = None,
    initial: dict[str, Any] | None = None,
    **form_options: Any,
) -> HttpResponse:
    """The page with the form; or, where it was sent and is valid, what `act` answers to it.

    What the domain refuses is shown as the form's error: nothing was changed then.
    """
    if request.method == "POST":
        form = form_class(request.POST, request.FILES, **form_options)
        if form.is_valid():
            try:
                return act(form)
            except IdempotencyKeyReused:
                form.add_error(None, "This form was sent before with something else in it. Open it again.")
            except DomainError as error:
                _add(form, error)
    else:
        form = form_class(initial=initial or {}, **form_options)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "opts": model_admin.opts,
        "original": original,
        "form": form,
        "text": text,
        # Not "submit": that is an argument of Unfold's button, whose text would be 1.
        "button": submit,
        "is_danger": is_danger,
        "media": model_admin.media + form.media,
    }
    return TemplateResponse(request, "console/form.html", context)


def done(request: HttpRequest, text: str, url: str) -> HttpResponse:
    """Say so on the page that comes next."""
    messages.success(request, text)
    return HttpResponseRedirect(url)


def key_page(model_admin: admin.ModelAdmin, request: HttpRequest, *, key: str, title: str, team: Any) -> HttpResponse:
    """A new key, in the answer to the POST that made it and nowhere else: not in a message, session or log."""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "opts": model_admin.opts,
        "original": team,
        "team": team,
        "key": key,
        "team_url": reverse("admin:tenancy_team_change", args=[team.pk]),
    }
    return TemplateResponse(request, "console/key.html", context)


def _add(form: forms.Form, error: DomainError) -> None:
    """Next to the field that it is about, where the form has that."""
    errors = getattr(error, "errors", [])
    if errors and errors[0]["field"] in form.fields:
        form.add_error(errors[0]["field"], errors[0]["message"])
    else:
        form.add_error(None, str(error))
