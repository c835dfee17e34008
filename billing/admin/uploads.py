"""The admin of uploaded refills: a file, its preview, its confirmation and approval, its progress and its report."""

import uuid
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe
from unfold.decorators import action
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget

from billing.admin.panels import Table, table
from billing.admin.team_forms import GRANTED_KINDS
from billing.models import CreditGrant, RefillUpload, RefillUploadRow
from billing.queries.refill_uploads import progress_of, rows_of, same_file
from billing.services import refill_uploads
from tenancy.admin import ReadOnlyAdmin, actor_of, link
from tenancy.admin.forms import ConfirmForm, ConsoleForm, done, form_page
from tenancy.admin.streaming import csv_response

CREDITS, APPROVE = "billing.top_up_creditaccount", "billing.approve_refillupload"
#: Rows of a kind that the page shows; the list and the report have all.
MAX_ROWS = 100
REPORT = ("line", "team", "amount", "reason", "outcome", "detail")


class UploadForm(ConsoleForm):
    """A file and what its credits are given as. Its token becomes the upload's id."""

    file = forms.FileField(
        widget=UnfoldAdminFileFieldWidget({"accept": ".csv,text/csv"}),
        help_text=(
            "UTF-8, the first line: team,amount,reason. "
            f"At most {refill_uploads.MAX_ROWS:,} rows and {refill_uploads.MAX_BYTES // 2**20} MiB."
        ),
    )
    kind = forms.ChoiceField(
        choices=GRANTED_KINDS,
        initial=CreditGrant.Kind.REFILL,
        widget=UnfoldAdminSelectWidget,
        help_text="A refill never goes beyond a team's credit limit.",
    )

    def clean_file(self) -> UploadedFile:
        """Before it is read. Raises ValidationError."""
        file: UploadedFile = self.cleaned_data["file"]
        if (file.size or 0) > refill_uploads.MAX_BYTES:
            raise ValidationError(f"The file is larger than {refill_uploads.MAX_BYTES // 2**20} MiB: divide it.")
        return file


@admin.register(RefillUpload)
class RefillUploadAdmin(ReadOnlyAdmin):
    """Uploads; nobody gets credits before one is confirmed."""

    list_display = (
        "created_at",
        "file_name",
        "state",
        "rows_valid",
        "rows_total",
        "credits_total",
        "uploaded_by",
        "approved_by",
    )
    list_filter = ("state", "created_at")
    list_select_related = ("uploaded_by", "approved_by")
    search_fields = ("file_name", "uploaded_by__username")
    uuid_fields = ("id",)
    fields = (
        "id",
        "file_name",
        "state",
        "kind",
        "rows_total",
        "rows_valid",
        "credits_total",
        "needs_approval",
        "uploader",
        "approver",
        "created_at",
        "confirmed_at",
        "ended_at",
        "sha_256",
    )
    readonly_fields = fields
    actions_list = ("upload",)

    @admin.display(description="Uploaded by")
    def uploader(self, upload: RefillUpload) -> str:
        """Without a link: people are for admins to see."""
        return upload.uploaded_by.get_username()

    @admin.display(description="Approved by")
    def approver(self, upload: RefillUpload) -> str:
        """Likewise."""
        return upload.approved_by.get_username() if upload.approved_by else "-"

    @admin.display(description="SHA-256 of the file")
    def sha_256(self, upload: RefillUpload) -> str:
        """In groups of eight, so that a phone can break it."""
        return " ".join(upload.digest[start : start + 8] for start in range(0, len(upload.digest), 8))

    def get_urls(self) -> list[URLPattern]:
        """With those of the steps."""
        view = self.admin_site.admin_view
        steps: dict[str, Callable[..., HttpResponseBase]] = {
            "confirm": self.confirm,
            "approve": self.approve,
            "cancel": self.cancel,
            "report": require_safe(self.report),
        }
        urls = [
            path(f"<path:object_id>/{name}/", view(step), name=f"billing_refillupload_{name}")
            for name, step in steps.items()
        ]
        return [*urls, *super().get_urls()]

    def has_credits_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For uploading."""
        return request.user.has_perm(CREDITS)

    @action(description="Upload a file", url_path="upload", permissions=["credits"], icon="upload_file")
    def upload(self, request: HttpRequest) -> HttpResponse:
        """Read a file for a preview."""

        def act(form: UploadForm) -> HttpResponse:
            file: UploadedFile = form.cleaned_data["file"]
            upload = refill_uploads.create_upload(
                upload_id=form.cleaned_data["token"],
                file_name=file.name or "",
                content=file.read(),
                kind=form.cleaned_data["kind"],
                user=request.user,  # type: ignore[arg-type]  # admin_view lets nobody else in
                actor=actor_of(request),
            )
            return HttpResponseRedirect(page_of(upload))

        return form_page(
            self,
            request,
            UploadForm,
            act,
            title="Refill many teams from a CSV file",
            text="You see what it would do first. Nobody gets credits before you confirm.",
            submit="Preview",
        )

    def confirm(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Have it carried out, now or after approval."""

        def step(upload: RefillUpload, reason: str) -> RefillUpload:
            return refill_uploads.confirm_upload(upload_id=upload.id, actor=actor_of(request), reason=reason)

        return self._step(request, object_id, step, word="Confirm", permissions=(CREDITS,))

    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let another's upload run."""

        def step(upload: RefillUpload, reason: str) -> RefillUpload:
            user: Any = request.user
            return refill_uploads.approve_upload(upload_id=upload.id, user=user, actor=actor_of(request), reason=reason)

        return self._step(request, object_id, step, word="Approve", permissions=(APPROVE,))

    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Give it up, or refuse it."""

        def step(upload: RefillUpload, reason: str) -> RefillUpload:
            return refill_uploads.cancel_upload(upload_id=upload.id, actor=actor_of(request), reason=reason)

        return self._step(request, object_id, step, word="Cancel", permissions=(CREDITS, APPROVE))

    def report(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """What became of each row, as a CSV file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        upload = self._found(request, object_id)
        rows = upload.rows.order_by("position").values_list("line", "team_id", *REPORT[2:])
        return csv_response(request, "refill-report", REPORT, rows.iterator(chunk_size=2000))

    def _step(
        self,
        request: HttpRequest,
        object_id: str,
        step: Callable[[RefillUpload, str], RefillUpload],
        *,
        word: str,
        permissions: tuple[str, ...],
    ) -> HttpResponse:
        if not any(request.user.has_perm(permission) for permission in permissions):
            raise PermissionDenied
        upload = self._found(request, object_id)

        def act(form: ConfirmForm) -> HttpResponse:
            moved = step(upload, form.cleaned_data["reason"])
            return done(
                request, f"The upload {moved.file_name} is {moved.get_state_display().lower()}.", page_of(moved)
            )

        text = f"{upload.file_name}: {upload.credits_total:,} credits by {upload.rows_valid:,} rows."
        title = f"{word} a refill of many teams"
        return form_page(self, request, ConfirmForm, act, title=title, text=text, submit=word, original=upload)

    def _found(self, request: HttpRequest, object_id: str) -> RefillUpload:
        upload = self.get_object(request, unquote(object_id))
        if upload is None:
            raise Http404
        return upload

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], **options: Any) -> HttpResponse:
        """With the preview or the report, and the buttons of those steps that the user may take."""
        upload: RefillUpload = options["obj"]
        progress, may = progress_of(upload), request.user.has_perm
        counts, is_uploader = progress.counts, upload.uploaded_by_id == request.user.pk
        context |= {
            "progress": progress,
            "cards": [
                ("Rows", f"{upload.rows_total:,}"),
                ("Valid", f"{upload.rows_valid:,}"),
                ("Invalid", f"{upload.rows_total - upload.rows_valid:,}"),
                ("Credits in all", f"{upload.credits_total:,}"),
                ("Added", f"{progress.credits_added:,}"),
            ],
            "outcomes": [(label, counts.get(value, 0)) for value, label in RefillUploadRow.Outcome.choices],
            "invalid": _problems(upload, "invalid") if counts.get("invalid") else None,
            "refused": _problems(upload, "refused") if counts.get("refused") else None,
            "valid": _valid(upload),
            "rows_link": _rows_link(upload, "All rows"),
            "same_file": same_file(upload),
            "token": uuid.uuid4(),
            "may_confirm": upload.state == "preview" and upload.rows_valid and may(CREDITS),
            "may_approve": upload.state == "waiting" and not is_uploader and may(APPROVE),
            "may_cancel": upload.state in ("preview", "waiting") and (may(CREDITS) or may(APPROVE)),
        }
        return super().render_change_form(request, context, **options)


@admin.register(RefillUploadRow)
class RefillUploadRowAdmin(ReadOnlyAdmin):
    """The rows of uploads, and what became of each."""

    list_display = ("line", "team_id", "amount", "reason", "outcome", "detail", "its_upload")
    list_filter = ("outcome",)
    search_fields = ("team_id__exact",)
    uuid_fields = ("upload_id",)
    fields = ("its_upload", "line", "team_id", "amount", "reason", "outcome", "detail")
    readonly_fields = fields

    @admin.display(description="Upload")
    def its_upload(self, row: RefillUploadRow) -> SafeString:
        """A link by its id."""
        return link("billing_refillupload_change", row.upload_id, pk=row.upload_id)


def page_of(upload: RefillUpload) -> str:
    """The upload's page."""
    return reverse("admin:billing_refillupload_change", args=[upload.pk])


def _rows_link(upload: RefillUpload, text: str) -> SafeString:
    return link("billing_refilluploadrow_changelist", text, upload__id__exact=upload.pk)


def _problems(upload: RefillUpload, outcome: str) -> Table:
    rows = [(row.line, row.team_id, row.detail) for row in rows_of(upload, outcome)[:MAX_ROWS]]
    return table(["line", "team", "why"], rows)


def _valid(upload: RefillUpload) -> Table:
    rows = rows_of(upload, "pending", "applied", "already_applied")[:MAX_ROWS]
    shown = [(row.line, row.team_id, row.amount, row.reason, row.get_outcome_display()) for row in rows]
    return table(["line", "team", "credits", "reason", "state"], shown)
