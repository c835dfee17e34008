"""Suspending and resuming, on one page: it offers the state that the thing is not in."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from tenancy.admin.forms import ConfirmForm, form_page


class StatusForm(ConfirmForm):
    """The wanted state is in the form, so that what was asked for is done, whatever has happened meanwhile."""

    status = forms.ChoiceField(choices=[("active", "active"), ("suspended", "suspended")], widget=forms.HiddenInput)


def status_page(
    model_admin: admin.ModelAdmin,
    request: HttpRequest,
    original: Any,
    act: Callable[[StatusForm], HttpResponse],
    *,
    what: str,
) -> HttpResponse:
    """The form for a team or an organization."""
    is_active = original.status == "active"
    return form_page(
        model_admin,
        request,
        StatusForm,
        act,
        title=f"{'Suspend' if is_active else 'Resume'} {what}",
        text=(
            "Its keys stop at once. Calls that run go on to their end; credits and jobs stay as they are."
            if is_active
            else "Its keys work again at once."
        ),
        submit="Suspend" if is_active else "Resume",
        is_danger=is_active,
        original=original,
        initial={"status": "suspended" if is_active else "active"},
    )
