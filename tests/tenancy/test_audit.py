"""The audit log: written with the change, never rewritten, and found again."""

import pytest
from django.db import IntegrityError, transaction

from config.foundation.constraints import violated
from tenancy.models import AuditEntry, Organization, Team
from tenancy.queries.audit import actions
from tenancy.services import audit
from tests.support.admin import AdminClient
from tests.support.api import Tenant, make_tenant

LIST, PAGE = "tenancy_auditentry_changelist", "tenancy_auditentry_change"


def written(tenant: Tenant, *, action: str = "team.changed") -> AuditEntry:
    audit.record(
        actor="console:ann",
        action=action,
        subject=tenant.team_id,
        team_pk=tenant.team_pk,
        before={"team_alias": "old <b>"},
        after={"team_alias": "new <script>alert(1)</script>"},
        reason="They asked",
    )
    return AuditEntry.objects.latest("id")


def test_an_entry_says_who_changed_what_of_whom(tenant: Tenant) -> None:
    entry = written(tenant)
    assert (entry.actor, entry.action, entry.subject, entry.reason) == (
        "console:ann",
        "team.changed",
        tenant.team_id,
        "They asked",
    )
    assert entry.team == Team.objects.get()
    assert entry.organization == Organization.objects.get()
    assert (entry.before, entry.after) == (
        {"team_alias": "old <b>"},
        {"team_alias": "new <script>alert(1)</script>"},
    )


@pytest.mark.django_db(transaction=True)
def test_a_change_that_is_undone_leaves_no_entry() -> None:
    with transaction.atomic():
        audit.record(actor="a", action="team.changed", subject="t")
        transaction.set_rollback(True)
    assert not AuditEntry.objects.exists()


def test_nobody_changes_or_deletes_an_entry(tenant: Tenant) -> None:
    entry = written(tenant)
    for write in (
        lambda: AuditEntry.objects.update(actor="x"),
        lambda: AuditEntry.objects.filter(pk=entry.pk).delete(),
    ):
        with pytest.raises(IntegrityError) as caught, transaction.atomic():
            write()
        assert violated(caught.value) == "audit_log_only_grows"
    assert AuditEntry.objects.get(pk=entry.pk).actor == "console:ann"


def test_secrets_stay_out_even_where_a_caller_hands_them_in(db: None) -> None:
    audit.record(actor="a", action="x.y", subject="s", after={"api_key": "sk-1", "Secret": "2", "name": "n"})
    assert AuditEntry.objects.get().after == {"api_key": "(hidden)", "Secret": "(hidden)", "name": "n"}


def test_changes_are_what_differs() -> None:
    assert audit.changes({"a": 1, "b": 2}, {"a": 1, "b": 3}) == ({"b": 2}, {"b": 3})


def test_the_page_shows_before_and_after_as_text(tenant: Tenant) -> None:
    html = AdminClient().html(PAGE, written(tenant).pk)
    assert "old &lt;b&gt;" in html
    assert "new &lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script>alert(1)" not in html


def test_the_list_is_filtered_by_whose_and_what_and_who(tenant: Tenant) -> None:
    other = make_tenant("b")
    mine, theirs = written(tenant), written(other, action="team.suspended")
    admin = AdminClient()

    def found(**query: object) -> set[AuditEntry]:
        return set(admin.get(LIST, **query).context["cl"].queryset)

    team = Team.objects.get(pk=tenant.team_pk)
    assert {"team.changed", "team.suspended"} <= set(actions())
    assert theirs in found(action="team.suspended")
    assert mine not in found(action="team.suspended")
    for query in ({"team__id__exact": team.pk}, {"organization__id__exact": team.organization_id}):
        assert mine in found(**query)
        assert theirs not in found(**query)
    assert {mine, theirs} <= found(actor__icontains="ann")
    assert found(actor__icontains="nobody") == set()
    assert {mine, theirs} <= found(created_at__year=mine.created_at.year)
