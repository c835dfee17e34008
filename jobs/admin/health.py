"""How models do, on one page: price, last errors, who rests, and what the last test said."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from config.foundation.errors import DependencyUnavailable
from jobs.callpath.resting import resting_until
from jobs.errors import cause_text
from jobs.models import ModelCheck
from jobs.queries.health import WINDOW, ModelHealth, health_of, last_errors
from modelgroups.admin.models import TEST_PERMISSION, ShownModel
from modelgroups.models import GroupModel, ModelGroup
from tenancy.admin import in_a_row, link

MOST_MODELS = 200
HEADERS = ("Model", "Group", "USD per 1M in / out", "Attempts", "Failed", "Answers in", "Rests until", "Last test", "")


def health_view(model_admin: admin.ModelAdmin, request: HttpRequest) -> HttpResponse:
    """Of one group's models (`?group=`), or of all that are in use."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    group = _group(request)
    models = list(_models(group))
    names = sorted({model.model_name for model in models})
    try:
        resting, is_known = resting_until(models), True
    except DependencyUnavailable:
        resting, is_known = {}, False
    health, checks = health_of(names), _last_checks(models)
    may_test = request.user.has_perm(TEST_PERMISSION)
    rows = [
        [
            *_row(model, health.get(model.model_name, ModelHealth()), resting.get(model.pk), checks.get(model.pk)),
            _links(model, may_test=may_test),
        ]
        for model in models
    ]
    errors = [
        [
            f"{attempt.started_at:%Y-%m-%d %H:%M:%S}",
            attempt.model_name,
            f"{cause_text(attempt.cause)} ({attempt.error_class})",
            attempt.http_status or "-",
            link("jobs_call_change", "Call", pk=attempt.call_id),
        ]
        for attempt in last_errors(names)
    ]
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"Health of {group}" if group else "Health of all models in use",
        "opts": model_admin.opts,
        "models": {"headers": HEADERS, "rows": rows},
        "errors": {"headers": ("When (UTC)", "Model", "Cause", "HTTP", ""), "rows": errors},
        "window_minutes": int(WINDOW.total_seconds() // 60),
        "is_resting_known": is_known,
        "group": group,
        "may_add_group": request.user.has_perm("modelgroups.add_modelgroup"),
    }
    return TemplateResponse(request, "console/model_health.html", context)


def _group(request: HttpRequest) -> ModelGroup | None:
    text = request.GET.get("group", "")
    if not text:
        return None
    try:
        group = ModelGroup.objects.filter(pk=UUID(text)).first()
    except ValueError:
        group = None
    if group is None:
        raise Http404
    return group


def _models(group: ModelGroup | None) -> QuerySet[GroupModel]:
    models = GroupModel.objects.select_related("group").order_by("group__group_name", "priority", "position")
    if group is not None:
        return models.filter(group=group)
    return models.filter(is_enabled=True, group__status=ModelGroup.Status.ACTIVE)[:MOST_MODELS]


def _last_checks(models: list[GroupModel]) -> dict[int, ModelCheck]:
    checks = ModelCheck.objects.filter(model__in=models).order_by("model_id", "-created_at").distinct("model_id")
    return {check.model_id: check for check in checks if check.model_id is not None}


def _row(model: GroupModel, health: ModelHealth, until: float | None, check: ModelCheck | None) -> list[Any]:
    return [
        model.model_name if model.is_enabled else f"{model.model_name} (disabled)",
        link("modelgroups_modelgroup_change", model.group, pk=model.group_id),
        ShownModel().price(model),
        health.attempts,
        f"{health.failed} ({health.failed_percent} %)" if health.failed else "0",
        "-" if health.latency_ms is None else f"{health.latency_ms} ms",
        "-" if until is None else f"{datetime.fromtimestamp(until, UTC):%H:%M:%S} UTC",
        link("jobs_modelcheck_change", check.state, pk=check.pk) if check else "never",
    ]


def _links(model: GroupModel, *, may_test: bool) -> SafeString:
    test = [link("jobs_modelcheck_new", "Test", pk=model.pk)] if may_test else []
    return in_a_row(*test, link("jobs_attempt_changelist", "Attempts", q=model.model_name))
