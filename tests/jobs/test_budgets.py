"""A team's budget: reserved by the statement that admits a call, settled by whatever ends it."""

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from billing import ledger
from billing.models import TeamBudget
from billing.queries.balances import budget_of
from billing.queries.books import breaches
from jobs.callpath.admission import CallRequest, admit
from jobs.errors import BudgetTooSmall, ModelAccessDenied
from jobs.models import Call
from jobs.queries.books import JOB_RULES
from jobs.services.calls import sweep_lost_calls
from modelgroups.errors import ModelPriceUnknown
from modelgroups.gateway.prices import most_per_token
from modelgroups.models import GroupModel
from modelgroups.services.groups import ModelSpec
from tenancy.queries.principals import TeamRef
from tests.support.api import Tenant, make_group, make_tenant
from tests.support.coroutines import run
from tests.support.ledger import behind_its_back

pytestmark = pytest.mark.django_db(transaction=True)
PRICED = {"input_cost_per_token": 0, "output_cost_per_token": 0.01, "mock_response": "Hello"}
#: Ten credits of ten cents.
LIMIT_USD = Decimal(1)


@pytest.fixture
def team(transactional_db: None) -> Tenant:
    make_group("Priced", [ModelSpec("cheap", 0, {**PRICED, "output_cost_per_token": 0}), ModelSpec("dear", 1, PRICED)])
    return make_tenant(groups=["Priced"])


def direct(team: Tenant, model: str = "Priced", endpoint: str = "chat/completions", **parameters: Any) -> Call:
    """A direct call as it is admitted."""
    reference = TeamRef(team.team_pk, team.team_id, team.organization_id, is_suspended=False)
    messages = [{"role": "user", "content": "Hello"}]
    request = CallRequest(model, messages, {"max_tokens": 40, **parameters}, endpoint=endpoint)
    return Call.objects.get(pk=run(lambda: admit(team=reference, job_id=None, request=request)))


def taken(team: Tenant) -> tuple[Any, Any]:
    """Spent and reserved."""
    budget = TeamBudget.objects.get(pk=team.team_pk)
    return budget.spent_usd, budget.reserved_usd


def end(call: Call, *, cost_usd: str) -> None:
    Call.objects.filter(pk=call.pk).update(state="succeeded", ended_at=timezone.now(), cost_usd=Decimal(cost_usd))


def test_the_dearest_model_that_may_answer_is_reserved(team: Tenant) -> None:
    call = direct(team)

    assert (call.job_id, call.model_group, call.model_name) == (None, "Priced", "")
    assert taken(team) == (0, Decimal("0.40"))


def test_one_model_is_asked_and_reserved_by_its_name(team: Tenant) -> None:
    assert direct(team, "cheap").model_name == "cheap"
    assert taken(team) == (0, 0)


def test_what_ends_a_call_settles_it(team: Tenant) -> None:
    end(direct(team), cost_usd="0.15")
    assert taken(team) == (Decimal("0.15"), 0)

    direct(team).delete()
    assert taken(team) == (Decimal("0.15"), 0)


def test_a_late_cost_is_counted(team: Tenant) -> None:
    call = direct(team)
    end(call, cost_usd="0")
    Call.objects.filter(pk=call.pk).update(cost_usd=Decimal("0.7"))
    assert taken(team) == (Decimal("0.7"), 0)


def test_the_sweeper_gives_back_what_a_dead_process_reserved(team: Tenant) -> None:
    call = direct(team)
    Call.objects.filter(pk=call.pk).update(process_id=uuid.uuid4(), created_at=timezone.now() - timedelta(days=1))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_postmaster_start_time() > now() - interval '20 s'")
        (has_just_started,) = cursor.fetchone()
    if has_just_started:
        Call.objects.filter(pk=call.pk).update(deadline_at=timezone.now() - timedelta(hours=1))

    assert len(sweep_lost_calls()) == 1
    assert taken(team) == (0, 0)


def test_what_is_not_covered_is_refused_and_leaves_no_record(team: Tenant) -> None:
    direct(team)
    direct(team)

    with pytest.raises(BudgetTooSmall, match="budget is exhausted"):
        direct(team)

    assert Call.objects.count() == 2
    assert taken(team) == (0, Decimal("0.80"))


def test_one_call_at_a_time_passes_while_anything_is_left(team: Tenant) -> None:
    first = direct(team, max_tokens=1000)
    with pytest.raises(BudgetTooSmall):
        direct(team, max_tokens=1)

    end(first, cost_usd="0.99")
    end(direct(team, max_tokens=1000), cost_usd="0.01")

    with pytest.raises(BudgetTooSmall):
        direct(team, max_tokens=1)
    assert taken(team) == (LIMIT_USD, 0)


def test_credits_make_room(team: Tenant) -> None:
    direct(team, max_tokens=100)
    with pytest.raises(BudgetTooSmall):
        direct(team)

    ledger.allocate(team_pk=team.team_pk, amount=4, reason="", metadata={}, actor="test")

    assert direct(team).reserved_usd == Decimal("0.40")
    assert budget_of(team.team_pk).remaining_usd == 0


def test_without_a_limit_the_model_s_or_the_setting_s_counts(team: Tenant, settings: Any) -> None:
    settings.BUDGET_OUTPUT_TOKENS = 30
    assert direct(team, max_tokens=None).reserved_usd == Decimal("0.30")

    GroupModel.objects.filter(model_name="dear").update(config={**PRICED, "max_tokens": 20})
    assert direct(team, max_tokens=None).reserved_usd == Decimal("0.20")


def test_a_model_s_limit_is_each_answer_s_and_chat_s_alone(team: Tenant, settings: Any) -> None:
    settings.BUDGET_OUTPUT_TOKENS = 30
    GroupModel.objects.filter(model_name="dear").update(config={**PRICED, "max_tokens": 10})

    assert direct(team, max_tokens=None, n=2).reserved_usd == Decimal("0.20")
    call = direct(team, endpoint="completions", max_tokens=None, prompt=["a", "b"])
    assert call.reserved_usd == Decimal("0.60")


def test_embeddings_are_reserved_by_their_input_alone(team: Tenant) -> None:
    both = {**PRICED, "input_cost_per_token": 0.01}
    GroupModel.objects.filter(model_name="dear").update(config=both)

    call = direct(team, endpoint="embeddings", input="x" * 30, n=5)

    # What is read: the text, and the message that the helper sends besides.
    assert Decimal("0.14") < call.reserved_usd < Decimal("0.60")
    GroupModel.objects.filter(model_name="dear").update(config=PRICED)
    assert direct(team, endpoint="embeddings", input="x" * 30).reserved_usd == 0


def test_litellm_s_prices_count_where_a_model_has_none(team: Tenant) -> None:
    make_group("Listed", [ModelSpec("gpt-4", 0)])
    listed = make_tenant("b", groups=["Listed"])
    price = most_per_token("gpt-4")
    assert price is not None

    first, second = direct(listed, "gpt-4", max_tokens=1), direct(listed, "gpt-4", max_tokens=2)

    assert second.reserved_usd - first.reserved_usd == price[1]


def test_an_unknown_price_refuses(team: Tenant) -> None:
    GroupModel.objects.filter(model_name="dear").update(config={"model": "openai/nobody-knows"})

    for _ in range(2):
        with pytest.raises(ModelPriceUnknown):
            direct(team)
    assert Call.objects.count() == 0


def test_with_a_proxy_it_is_the_proxy_that_refuses(team: Tenant, settings: Any) -> None:
    settings.LITELLM_PROXY_URL = "http://127.0.0.1:1"

    call = direct(team, max_tokens=10_000)

    end(call, cost_usd="3")
    assert taken(team) == (3, 0)


def test_a_group_of_others_is_no_model(team: Tenant) -> None:
    make_group("Foreign", [ModelSpec("theirs", 0, PRICED)])

    for model in ("Foreign", "theirs", "nothing"):
        with pytest.raises(ModelAccessDenied):
            direct(team, model)


def test_a_budget_that_is_not_its_calls_is_found(team: Tenant) -> None:
    end(direct(team), cost_usd="0")
    assert breaches(JOB_RULES) == []

    with behind_its_back() as cursor:
        cursor.execute("UPDATE billing_teambudget SET spent_usd = 5")
        assert "what a team has spent is what its calls cost" in str(breaches(JOB_RULES))
