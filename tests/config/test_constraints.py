"""Every named rule of the database has a write here that breaks it, and only it."""

import re
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, models, transaction

from billing.services.refill_uploads import create_upload
from config.foundation.constraints import violated
from tenancy.models import Alert, Team, TeamUser
from tenancy.services import audit
from tenancy.services.alerts import Finding, open_alert
from tenancy.services.users import change_user
from tenancy.services.webhooks.endpoints import create_endpoint
from tenancy.services.webhooks.outbox import send_test
from tests.support.api import Tenant

ROOT = Path(__file__).resolve().parents[2]
OURS = ("tenancy", "modelgroups", "billing", "jobs")
CONSTRAINTS: dict[str, type[models.Model]] = {
    constraint.name: model
    for app in OURS
    for model in apps.get_app_config(app).get_models()
    for constraint in model._meta.constraints
}
RULES = "".join(path.read_text() for path in ROOT.glob("*/migrations/*_rules.py"))
TRIGGER_RULES = set(re.findall(r"CONSTRAINT = '(\w+)'", RULES))

ENTRY = """
    INSERT INTO billing_ledgerentry
        (id, account_id, sequence, kind, amount, balance_after, reason, job_id, hold_id, metadata, actor, created_at,
         digest)
"""
GRANT = """
    INSERT INTO billing_creditgrant
        (id, account_id, entry_id, sequence, kind, amount, remaining, is_spent, priority, created_at)
"""
HOLD = "INSERT INTO billing_credithold (id, account_id, job_id, amount, state, created_at, ended_at, balance_after)"
REFILL = "INSERT INTO billing_refill (account_id, batch, row, amount, entry_id, period_start, created_at, is_automatic)"
UPLOAD_ROW = (
    "INSERT INTO billing_refilluploadrow (upload_id, position, line, team_id, number, amount, reason, outcome, detail)"
)
POLICY = """
    INSERT INTO billing_refillpolicy
        (account_id, is_enabled, every, below, amount, fill_to, max_per_month, active_from, updated_at)
"""
CALL = """
    INSERT INTO jobs_call
        (id, job_id, team_id, model_group, purpose, state, cause, error, is_late, prompt_tokens, completion_tokens, cost_usd,
         finish_reason, created_at, deadline_at, ended_at)
"""
JOB = """
    INSERT INTO jobs_job
        (id, team_id, team_user_id, user_id, job_type, status, metadata, error_message, created_at, expires_at,
         ends_with_call)
"""
ATTEMPT = """
    INSERT INTO jobs_attempt
        (call_id, sequence, model_name, outcome, cause, error_class, latency_ms, prompt_tokens, completion_tokens,
         cost_usd, usage_is_estimated, started_at)
"""
SPEND = """
    INSERT INTO billing_proxyspend
        (day, key_hash, is_platform, requests, prompt_tokens, completion_tokens, read_at, team_id, model_name, spend_usd)
    SELECT '2026-01-01', 'k', true, 0, 0, 0, now(), spent.* FROM
"""
UUID = "gen_random_uuid()"
CREDENTIAL = """
    INSERT INTO modelgroups_providercredential
        (id, name, provider, api_base, secret_encrypted, last_four, created_at, replaced_at)
"""
CHECK = """
    INSERT INTO jobs_modelcheck
        (id, group_name, model_name, actor, state, cause, error_class, prompt_tokens, completion_tokens, created_at)
"""
USER = "INSERT INTO tenancy_teamuser (team_id, user_id, status, first_seen_at, last_seen_at)"
EVENT = "INSERT INTO tenancy_webhookevent (event_id, team_id, type, data, created_at, is_dispatched)"
ALERT = "INSERT INTO tenancy_alert (id, rule, subject, threshold, data, state, opened_at)"
MAIL = "INSERT INTO tenancy_alertmail (id, alert_id, recipient, state, attempts, next_try_at)"
AUDIT = "INSERT INTO tenancy_auditentry (created_at, actor, action, subject, reason)"
DELIVERY = """
    INSERT INTO tenancy_webhookdelivery (id, endpoint_id, event_id, state, attempts, next_try_at, last_problem, created_at)
"""

#: Rule → what breaks it. The world has a team with ten credits, a group of two models, an open job and a failed call.
BREAKS = {
    # tenancy
    "organization_id_is_unique": "INSERT INTO tenancy_organization (organization_id, name, status, metadata, created_at, updated_at) SELECT organization_id, name, status, metadata, now(), now() FROM tenancy_organization",
    "organization_id_is_well_formed": "UPDATE tenancy_organization SET organization_id = 'a b'",
    "organization_status_is_known": "UPDATE tenancy_organization SET status = 'gone'",
    "team_id_is_unique": "INSERT INTO tenancy_team (organization_id, team_id, team_alias, status, metadata, created_at, updated_at) SELECT organization_id, team_id, '', 'active', '{}', now(), now() FROM tenancy_team",
    "team_id_is_well_formed": "UPDATE tenancy_team SET team_id = ''",
    "team_status_is_known": "UPDATE tenancy_team SET status = 'gone'",
    "team_user_rates_are_positive": "UPDATE tenancy_team SET user_tokens_per_minute = 0",
    "team_limits_are_positive": "UPDATE tenancy_team SET tokens_per_minute = 0",
    "virtual_key_scopes_are_known": "UPDATE tenancy_virtualkey SET scopes = '{read,all}'",
    "virtual_key_allowed_models_are_some": "UPDATE tenancy_virtualkey SET allowed_models = '{}'",
    "virtual_key_allowed_ips_are_networks": "UPDATE tenancy_virtualkey SET allowed_ips = '{10.0.0.1/8}'",
    "virtual_key_limits_are_positive": "UPDATE tenancy_virtualkey SET requests_per_minute = 0",
    "idempotency_key_is_unique_per_caller": r"INSERT INTO tenancy_idempotencyrecord (scope, key, request_hash, created_at) VALUES ('s', 'k', '\x00', now()), ('s', 'k', '\x01', now())",
    "webhook_endpoint_has_one_owner": "UPDATE tenancy_webhookendpoint SET team_id = NULL, organization_id = NULL",
    "webhook_endpoint_is_active_or_says_why_not": "UPDATE tenancy_webhookendpoint SET state = 'disabled'",
    "webhook_endpoint_previous_secret_ends": r"UPDATE tenancy_webhookendpoint SET previous_secret_encrypted = '\x00'",
    "webhook_endpoint_is_leased_or_free": "UPDATE tenancy_webhookendpoint SET leased_until = now()",
    "webhook_endpoint_fails_or_does_not": "UPDATE tenancy_webhookendpoint SET consecutive_failures = 1",
    "webhook_event_id_is_unique": f"{EVENT} SELECT event_id, NULL, type, '{{}}', now(), true FROM tenancy_webhookevent",
    "one_webhook_delivery_per_endpoint_and_event": f"{DELIVERY} SELECT {UUID}, endpoint_id, event_id, 'pending', 0, now(), '', now() FROM tenancy_webhookdelivery",
    "webhook_delivery_is_final_or_due": "UPDATE tenancy_webhookdelivery SET state = 'delivered'",
    "one_open_alert_per_crossing": f"{ALERT} SELECT {UUID}, rule, subject, threshold, '{{}}', 'open', now() FROM tenancy_alert",
    "alert_is_closed_or_open": "UPDATE tenancy_alert SET closed_at = now()",
    "one_mail_per_alert_and_recipient": f"{MAIL} SELECT {UUID}, alert_id, recipient, 'pending', 0, now() FROM tenancy_alertmail",
    "alert_mail_is_final_or_due": "UPDATE tenancy_alertmail SET state = 'sent'",
    "user_id_is_unique_in_its_team": f"{USER} SELECT team_id, user_id, 'active', now(), now() FROM tenancy_teamuser",
    "team_user_is_erased_or_not": "UPDATE tenancy_teamuser SET status = 'erased'",
    "one_user_limit_per_kind": "INSERT INTO tenancy_userlimit (user_id, kind, amount) SELECT user_id, kind, 1 FROM tenancy_userlimit",
    "user_limit_kind_is_known": "UPDATE tenancy_userlimit SET kind = 'gone' WHERE kind = 'credits'",
    "user_limit_is_not_negative": "UPDATE tenancy_userlimit SET amount = -1",
    "audit_entry_says_who_did_what": f"{AUDIT} VALUES (now(), '', 'team.changed', 't', '')",
    # modelgroups
    "group_name_is_unique": f"INSERT INTO modelgroups_modelgroup (id, group_name, display_name, description, status, metadata, created_at, updated_at) SELECT {UUID}, group_name, '', '', 'active', '{{}}', now(), now() FROM modelgroups_modelgroup",
    "group_name_is_well_formed": "UPDATE modelgroups_modelgroup SET group_name = 'é'",
    "group_status_is_known": "UPDATE modelgroups_modelgroup SET status = 'gone'",
    "one_model_per_position": "UPDATE modelgroups_groupmodel SET position = 0",
    "api_key_is_not_in_config": """UPDATE modelgroups_groupmodel SET config = '{"api_key": "sk-plain"}'""",
    "group_is_assigned_once": "INSERT INTO modelgroups_groupassignment (team_id, group_id, position) SELECT team_id, group_id, 7 FROM modelgroups_groupassignment",
    "credential_name_is_unique": f"{CREDENTIAL} SELECT {UUID}, 'main', 'openai', '', '', '', now(), now() FROM generate_series(1, 2)",
    "credential_is_well_formed": f"{CREDENTIAL} VALUES ({UUID}, 'main', 'OpenAI', '', '', '', now(), now())",
    # billing
    "account_counts_are_not_negative": "UPDATE billing_creditaccount SET allocated = -1, used = -1",
    "account_held_is_not_negative": "UPDATE billing_creditaccount SET held = -1",
    "account_is_never_overdrawn": "UPDATE billing_creditaccount SET held = allocated - used + 1",
    "account_credit_limit_is_not_negative": "UPDATE billing_creditaccount SET credit_limit = -1",
    "one_hold_per_job": f"{HOLD} SELECT {UUID}, account_id, job_id, 1, 'held', now(), NULL, NULL FROM billing_credithold",
    "hold_amount_is_positive": "UPDATE billing_credithold SET amount = 0",
    "hold_state_is_known": "UPDATE billing_credithold SET state = 'gone', ended_at = now(), balance_after = 1",
    "hold_has_ended_or_is_held": "UPDATE billing_credithold SET ended_at = now()",
    "ledger_sequence_is_unique": f"{ENTRY} SELECT {UUID}, account_id, sequence, 'allocation', 1, 1, '', NULL, NULL, '{{}}', '', now(), '' FROM billing_ledgerentry",
    "one_deduction_per_job": f"{ENTRY} SELECT {UUID}, account_id, n, 'deduction', -1, 1, '', job_id, CASE n WHEN 90 THEN id END, '{{}}', '', now(), '' FROM billing_credithold, generate_series(90, 91) n",
    "one_entry_per_hold": f"{ENTRY} SELECT {UUID}, account_id, n, 'adjustment', 1, 1, '', NULL, id, '{{}}', '', now(), '' FROM billing_credithold, generate_series(90, 91) n",
    "ledger_balance_is_not_negative": "UPDATE billing_ledgerentry SET balance_after = -1",
    "ledger_entry_makes_sense": "UPDATE billing_ledgerentry SET kind = 'gift'",
    "ledger_entry_has_terms_if_it_grants": "UPDATE billing_ledgerentry SET grant_kind = NULL",
    "grant_sequence_is_unique": f"{GRANT} SELECT {UUID}, account_id, {UUID}, sequence, 'purchase', 1, 1, false, 100, now() FROM billing_creditgrant",
    "grant_kind_is_known": "UPDATE billing_creditgrant SET kind = 'gift'",
    "grant_amount_is_positive": "UPDATE billing_creditgrant SET amount = 0, remaining = 0, is_spent = true",
    "grant_covers_its_draws": "UPDATE billing_creditgrant SET remaining = amount + 1",
    "grant_is_spent_when_nothing_remains": "UPDATE billing_creditgrant SET is_spent = true",
    "grant_expires_after_it_is_made": "UPDATE billing_creditgrant SET expires_at = created_at",
    "an_entry_draws_on_a_grant_once": f"INSERT INTO billing_grantdraw (entry_id, grant_id, amount) SELECT e, e, 1 FROM (SELECT {UUID} AS e) ids, generate_series(1, 2)",
    "draw_amount_is_positive": f"INSERT INTO billing_grantdraw (entry_id, grant_id, amount) VALUES ({UUID}, {UUID}, 0)",
    "ledger_check_ends_after_its_start": "INSERT INTO billing_ledgercheck (started_at, ended_at, entries, breaches, actor) VALUES (now(), now() - interval '1 second', 0, '[]', '')",
    "a_refill_is_made_once": f"{REFILL} SELECT team_id, 'b', 1, 0, NULL, NULL, now(), false FROM billing_creditaccount, generate_series(1, 2)",
    "one_refill_per_period": f"{REFILL} SELECT team_id, 'b', n, 0, NULL, '2026-11-01', now(), true FROM billing_creditaccount, generate_series(1, 2) n",
    "refill_has_an_entry_if_it_adds": f"{REFILL} SELECT team_id, 'b', 1, 1, NULL, NULL, now(), false FROM billing_creditaccount",
    "refill_policy_period_is_known": f"{POLICY} SELECT team_id, true, 'year', NULL, 1, NULL, NULL, now(), now() FROM billing_creditaccount",
    "refill_policy_has_a_threshold_if_it_needs_one": f"{POLICY} SELECT team_id, true, 'below', NULL, 1, NULL, NULL, now(), now() FROM billing_creditaccount",
    "refill_policy_adds_or_fills_up": f"{POLICY} SELECT team_id, true, 'day', NULL, 1, 1, NULL, now(), now() FROM billing_creditaccount",
    "refill_policy_fills_beyond_its_threshold": f"{POLICY} SELECT team_id, true, 'below', 5, NULL, 4, NULL, now(), now() FROM billing_creditaccount",
    "refill_policy_cap_is_positive": f"{POLICY} SELECT team_id, true, 'day', NULL, 1, NULL, 0, now(), now() FROM billing_creditaccount",
    "refill_upload_state_is_known": "UPDATE billing_refillupload SET state = 'gone'",
    "refill_upload_is_approved_by_another": "UPDATE billing_refillupload SET approved_by_id = uploaded_by_id",
    "refill_upload_runs_only_with_its_approval": "UPDATE billing_refillupload SET needs_approval = true, state = 'running'",
    "refill_upload_counts_make_sense": "UPDATE billing_refillupload SET rows_valid = rows_total + 1",
    "one_upload_row_per_position": f"{UPLOAD_ROW} SELECT id, 1, 2, 't', 1, 1, '', 'pending', '' FROM billing_refillupload",
    "refill_upload_row_is_valid_or_says_why_not": f"{UPLOAD_ROW} SELECT id, 2, 2, 't', 1, NULL, '', 'refused', '' FROM billing_refillupload",
    "proxy_team_is_not_ahead": "UPDATE billing_proxyteam SET synced_version = wanted_version + 1",
    "proxy_team_lease_has_an_end": f"UPDATE billing_proxyteam SET lease = {UUID}",
    "drift_is_open_once": "INSERT INTO billing_proxydrift (proxy_team_id, kind, subject, was, wanted, found_at, last_seen_at) SELECT 't', 'team_budget', '', '', '', now(), now() FROM generate_series(1, 2)",
    "drift_kind_is_known": "INSERT INTO billing_proxydrift (proxy_team_id, kind, subject, was, wanted, found_at, last_seen_at) VALUES ('t', 'gone', '', '', '', now(), now())",
    "spend_is_counted_once_a_day": f"{SPEND} (SELECT id, 'm', 1 FROM tenancy_team, generate_series(1, 2)) spent",
    "spend_is_not_negative": f"{SPEND} (SELECT id, 'm', -1 FROM tenancy_team) spent",
    # jobs
    "job_status_is_known": "UPDATE jobs_job SET status = 'gone'",
    "job_has_ended_or_is_open": "UPDATE jobs_job SET status = 'completed'",
    "call_state_is_known": "UPDATE jobs_call SET state = 'gone'",
    "call_has_ended_or_is_open": "UPDATE jobs_call SET state = 'running'",
    "unsuccessful_call_has_a_cause": "UPDATE jobs_call SET cause = ''",
    "call_counts_are_not_negative": "UPDATE jobs_call SET cost_usd = -0.000001",
    "attempt_sequence_is_unique": f"{ATTEMPT} SELECT id, 1, 'm', 'succeeded', '', '', 1, 0, 0, 0, false, now() FROM jobs_call, generate_series(1, 2)",
    "attempt_outcome_is_known": f"{ATTEMPT} SELECT id, 1, 'm', 'gone', '', '', 1, 0, 0, 0, false, now() FROM jobs_call",
    "failed_attempt_has_a_cause": f"{ATTEMPT} SELECT id, 1, 'm', 'failed', '', '', 1, 0, 0, 0, false, now() FROM jobs_call",
    "model_check_has_ended_or_is_open": f"{CHECK} VALUES ({UUID}, 'G', 'm', 'a', 'succeeded', '', '', 0, 0, now())",
    "failed_model_check_has_a_cause": f"{CHECK} VALUES ({UUID}, 'G', 'm', 'a', 'failed', '', '', 0, 0, now())",
    "budget_is_not_negative": "UPDATE billing_teambudget SET reserved_usd = -1",
    "one_job_day_per_status": "INSERT INTO jobs_jobday (day, job_type, status, jobs) SELECT now(), 'a', 'failed', 1 FROM generate_series(1, 2)",
    "one_call_day_per_cause": "INSERT INTO jobs_callday (day, state, cause, calls, latency_buckets) SELECT now(), 'failed', 'x', 1, '{}' FROM generate_series(1, 2)",
    "one_model_day_per_model": "INSERT INTO jobs_modelday (day, model_name, attempts, failures, prompt_tokens, completion_tokens, cost_usd, latency_buckets) SELECT now(), 'm', 1, 0, 0, 0, 0, '{}' FROM generate_series(1, 2)",
    "one_credit_day_per_team": "INSERT INTO jobs_creditday (day, entries, used, added, removed) SELECT now(), 1, 1, 0, 0 FROM generate_series(1, 2)",
    "attempt_cost_is_not_negative": f"{ATTEMPT} SELECT id, 1, 'm', 'succeeded', '', '', 1, 0, 0, -1, false, now() FROM jobs_call",
}  # fmt: skip

#: The same for the triggers' rules.
TRIGGER_BREAKS = {
    "webhook_event_is_immutable": "UPDATE tenancy_webhookevent SET data = '{}'",
    "audit_log_only_grows": "UPDATE tenancy_auditentry SET actor = 'somebody else'",
    "ledger_entry_has_an_account": f"{ENTRY} SELECT {UUID}, -1, 0, 'allocation', 1, 0, '', NULL, NULL, '{{}}', '', now(), ''",
    "deduction_captures_an_open_hold": f"{ENTRY} SELECT {UUID}, account_id, 0, 'deduction', -1, 0, '', {UUID}, id, '{{}}', '', now(), '' FROM billing_credithold",
    "refill_respects_the_credit_limit": "INSERT INTO billing_ledgerentry (id, account_id, sequence, kind, amount, balance_after, reason, grant_kind, metadata, actor, created_at) SELECT gen_random_uuid(), team_id, 0, 'allocation', 3, 0, '', 'refill', '{}', '', now() FROM billing_creditaccount",
    "grants_cover_every_entry": f"{ENTRY} SELECT {UUID}, team_id, 0, 'adjustment', -9, 0, '', NULL, NULL, '{{}}', '', now(), '' FROM billing_creditaccount",
    "periods_are_refilled_in_order": f"{REFILL} SELECT team_id, 'b', n, 0, NULL, '2026-11-08'::date - n, now(), true FROM billing_creditaccount, generate_series(1, 2) n",
    "refills_keep_to_the_monthly_cap": f"{REFILL} SELECT team_id, 'b', 1, 6, {UUID}, NULL, now(), true FROM billing_creditaccount",
    "grants_follow_the_ledger": "UPDATE billing_creditgrant SET remaining = remaining - 1",
    "ledger_only_grows": "UPDATE billing_ledgerentry SET amount = amount + 1",
    "hold_starts_held": f"{HOLD} SELECT {UUID}, account_id, {UUID}, 1, 'released', now(), now(), 1 FROM billing_credithold",
    "hold_ends_once": "UPDATE billing_credithold SET created_at = now() - interval '1 day'",
    "hold_is_captured_by_its_deduction": "UPDATE billing_credithold SET state = 'captured', ended_at = now(), balance_after = 9",
    "account_starts_empty": "INSERT INTO billing_creditaccount (team_id, allocated, used, held, last_sequence, auto_refill, created_at) VALUES (-1, 0, 0, 0, 1, false, now())",
    "budget_starts_unspent": "INSERT INTO billing_teambudget (team_id, spent_usd, reserved_usd) VALUES (-1, 1, 0)",
    "budget_is_derived": "UPDATE billing_teambudget SET spent_usd = 0",
    "user_keeps_to_his_credits": f"{JOB} SELECT {UUID}, team_id, id, 'u', 'x', 'pending', '{{}}', '', now(), now(), false FROM tenancy_teamuser",
    "user_keeps_to_his_cost": f"INSERT INTO jobs_call (id, team_id, team_user_id, model_group, purpose, state, cause, error, is_late, prompt_tokens, completion_tokens, cost_usd, reserved_usd, finish_reason, created_at, deadline_at) SELECT {UUID}, team_id, id, 'G', '', 'queued', '', '', false, 0, 0, 0, 3, '', now(), now() FROM tenancy_teamuser",
    "account_is_derived": "UPDATE billing_creditaccount SET allocated = allocated + 1000",
}  # fmt: skip


@pytest.fixture
def world(tenant: Tenant, settings: Any) -> Tenant:
    """One of everything, with nothing deferred: a table with pending checks cannot be altered."""
    endpoint = create_endpoint(
        owner=Team.objects.get(pk=tenant.team_pk), url="https://8.8.8.8/", event_types=["credits.refilled"]
    )
    send_test(endpoint_id=endpoint.row.id, team_pk=tenant.team_pk)
    audit.record(actor="test", action="team.changed", subject=tenant.team_id, team_pk=tenant.team_pk)
    uploader = User.objects.create_user("uploader")
    content = f"team,amount\n{tenant.team_id},1\n".encode()
    create_upload(upload_id=uuid.uuid4(), file_name="f", content=content, kind="refill", user=uploader, actor="test")
    settings.ALERT_EMAILS = ["operator@example.com"]
    open_alert(rule=Alert.Rule.CREDITS_LOW, finding=Finding(tenant.team_id, "10", team_pk=tenant.team_pk))
    job = tenant.api.post("/api/jobs/create", {"team_id": tenant.team_id, "job_type": "x", "user_id": "u"}).json()[
        "job_id"
    ]
    limits = {"credits": Decimal(0), "direct_cost": Decimal(0)}
    change_user(user_pk=TeamUser.objects.get().pk, limits=limits, actor="test")
    with connection.cursor() as cursor:
        failed = (
            f"{CALL} VALUES (%s, %s, %s, 'G', '', 'failed', 'timeout', '', false, 0, 0, 0, '', now(), now(), now())"
        )
        cursor.execute(failed, [uuid.uuid4(), job, tenant.team_pk])
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return tenant


def refusal(sql: str, *preparations: str) -> str | None:
    """The rule that refuses the write."""
    with transaction.atomic(), connection.cursor() as cursor:
        for preparation in preparations:
            cursor.execute(preparation)
        with pytest.raises(IntegrityError) as caught, transaction.atomic():
            cursor.execute(sql)
        transaction.set_rollback(True)
    return violated(caught.value)


def test_the_tables_are_complete() -> None:
    assert set(BREAKS) == set(CONSTRAINTS)
    assert set(TRIGGER_BREAKS) == TRIGGER_RULES
    assert len(TRIGGER_RULES) == 19


@pytest.mark.parametrize("name", BREAKS)
def test_a_constraint_refuses_what_breaks_it_without_the_help_of_others(world: Tenant, name: str) -> None:
    """Triggers and the table's other checks are switched off, which would otherwise speak first."""
    table = CONSTRAINTS[name]._meta.db_table
    others = [
        f"ALTER TABLE {table} DROP CONSTRAINT {other.name}"
        for other in CONSTRAINTS[name]._meta.constraints
        if isinstance(other, models.CheckConstraint) and other.name != name
    ]
    assert refusal(BREAKS[name], f"ALTER TABLE {table} DISABLE TRIGGER USER", *others) == name


#: What has to be so for the rule to be broken: a limit of twelve credits; a grant that somebody has emptied.
TRIGGER_PREPARATIONS = {
    "refills_keep_to_the_monthly_cap": [
        f"{POLICY} SELECT team_id, true, 'day', NULL, 9, NULL, 5, now(), now() FROM billing_creditaccount"
    ],
    "refill_respects_the_credit_limit": ["UPDATE billing_creditaccount SET credit_limit = 12"],
    "grants_cover_every_entry": [
        "ALTER TABLE billing_creditgrant DISABLE TRIGGER USER",
        "UPDATE billing_creditgrant SET remaining = 8",
    ],
}


@pytest.mark.parametrize("name", TRIGGER_BREAKS)
def test_a_trigger_refuses_what_breaks_its_rule(world: Tenant, name: str) -> None:
    assert refusal(TRIGGER_BREAKS[name], *TRIGGER_PREPARATIONS.get(name, [])) == name


@pytest.mark.parametrize("table", ["tenancy_virtualkey", "tenancy_operatorkey"])
def test_two_keys_never_share_a_hash(world: Tenant, table: str) -> None:
    columns = {
        "tenancy_virtualkey": ("name, last_four, created_at, team_id", f"'x', '1234', now(), {world.team_pk}"),
        "tenancy_operatorkey": ("name, last_four, created_at, scopes", "n::text, '1234', now(), '{}'"),
    }
    names, values = columns[table]
    sql = f"INSERT INTO {table} (id, key_hash, {names}) SELECT {UUID}, '\\x00', {values} FROM generate_series(1, 2) n"
    assert (refusal(sql) or "").startswith(f"{table}_key_hash")


def test_a_hold_needs_an_account(world: Tenant) -> None:
    sql = f"{HOLD} VALUES ({UUID}, -1, {UUID}, 1, 'held', now(), NULL, NULL)"
    assert "account_id" in (refusal(sql) or "")
