"""Reads of uploaded refills."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Count, QuerySet, Sum

from billing.models import RefillUpload, RefillUploadRow


@dataclass(frozen=True)
class Progress:
    """How many of an upload's rows are in each state, and how many credits were added."""

    counts: Mapping[str, int]
    credits_added: int

    @property
    def percent(self) -> int:
        """Of the rows that can be carried out, those that were tried."""
        tried = sum(self.counts.get(outcome, 0) for outcome in ("applied", "already_applied", "refused"))
        wanted = tried + self.counts.get("pending", 0)
        return 100 * tried // wanted if wanted else 0


def progress_of(upload: RefillUpload) -> Progress:
    """In one query."""
    by_outcome = upload.rows.order_by().values("outcome").annotate(count=Count("id"), credits=Sum("amount"))
    rows = list(by_outcome)
    added = sum(row["credits"] or 0 for row in rows if row["outcome"] in ("applied", "already_applied"))
    return Progress({row["outcome"]: row["count"] for row in rows}, added)


def rows_of(upload: RefillUpload, *outcomes: str) -> QuerySet[RefillUploadRow]:
    """An upload's rows with these outcomes, in the order of the file."""
    return upload.rows.filter(outcome__in=outcomes).order_by("position")


def same_file(upload: RefillUpload) -> RefillUpload | None:
    """Another upload of the same file that was confirmed."""
    others = RefillUpload.objects.filter(digest=upload.digest, confirmed_at__isnull=False).exclude(pk=upload.pk)
    return others.exclude(state=RefillUpload.State.CANCELLED).order_by("-confirmed_at").first()
